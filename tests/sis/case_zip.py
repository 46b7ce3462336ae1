"""Builds a OneRoster 1.1 CSV delivery of two small schools. A test can change each cell of its files."""

import zipfile
from dataclasses import dataclass, field
from pathlib import Path

STUDENTS = 12
FILES = (
    *("academicSessions", "categories", "classes", "courses", "demographics", "enrollments", "lineItems", "orgs"),
    *("results", "users"),
)
USERS = (
    "sourcedId,status,dateLastModified,enabledUser,orgSourcedIds,role,username,userIds,givenName,familyName,middleName,"
    "identifier,email,sms,phone,agentSourcedIds,grades,password"
)


def _files() -> dict[str, str]:
    base = "sourcedId,status,dateLastModified,"
    users = [
        f"U{n:03},,,true,S{1 + n // 7},student,u{n},,Given{n},Family{n},,{1000 + n},u{n}@example.org,,,,03,"
        for n in range(1, STUDENTS + 1)
    ]
    users += [f"T00{n},,,true,S{n},teacher,t{n},,Teach{n},Family,,9{n},t{n}@example.org,,,,," for n in (1, 2)]
    enrollments = [
        f"E{n:03},,,C{1 + n // 7 * 2},S{1 + n // 7},U{n:03},student,false,2026-08-20," for n in range(1, STUDENTS + 1)
    ]
    enrollments += [f"ET{n},,,C{2 * n - 1},S{n},T00{n},teacher,true,," for n in (1, 2)]
    text = {
        "orgs": f"{base}name,type,identifier,parentSourcedId\nD,,,Test district,district,D,\n"
        "S1,,,North School,school,S1,D\nS2,,,South School,school,S2,D",
        "academicSessions": f"{base}title,type,startDate,endDate,parentSourcedId,schoolYear\n"
        "Y,,,Year,schoolYear,2026-08-15,2027-06-15,,2027\nT1,,,Fall,term,2026-08-15,2027-01-15,Y,2027",
        "courses": f"{base}schoolYearSourcedId,title,courseCode,grades,orgSourcedId,subjects,subjectCodes\n"
        "K1,,,Y,Reading,RD,03,D,Reading,",
        "classes": f"{base}title,grades,courseSourcedId,classCode,classType,location,schoolSourcedId,termSourcedIds,"
        "subjects,subjectCodes,periods\nC1,,,Reading 1,03,K1,RD-1,scheduled,,S1,T1,Reading,,1\n"
        "C3,,,Reading 3,03,K1,RD-3,scheduled,,S2,T1,Reading,,1",
        "users": "\n".join((USERS, *users)),
        "enrollments": "\n".join(
            (f"{base}classSourcedId,schoolSourcedId,userSourcedId,role,primary,beginDate,endDate", *enrollments)
        ),
    }
    return {name: content.replace("\n", "\r\n") + "\r\n" for name, content in text.items()}


@dataclass
class CaseZip:
    """A zip with the given texts as its files, and with a line of the manifest for each of them."""

    files: dict[str, str] = field(default_factory=_files)
    raw: dict[str, bytes] = field(default_factory=dict)
    manifest: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    """Names of files in the zip that differ from the standard's."""

    def change(self, name: str, old: str, new: str) -> "CaseZip":
        """Replaces a text in a file of the zip; raises if the file does not contain it."""
        assert old in self.files[name], old
        self.files[name] = self.files[name].replace(old, new)
        return self

    def add(self, name: str, *lines: str) -> "CaseZip":
        """Adds lines to a file."""
        self.files[name] = self.files.get(name, "") + "".join(f"{line}\r\n" for line in lines)
        return self

    def drop(self, name: str, *sourced_ids: str) -> "CaseZip":
        """Removes the rows with these sourcedIds from a file of the zip."""
        lines = self.files[name].split("\r\n")
        self.files[name] = "\r\n".join(line for line in lines if line.partition(",")[0] not in sourced_ids)
        return self

    def write(self, path: Path) -> Path:
        """Writes the zip."""
        lines = {"propertyName": "value", "manifest.version": "1.0", "oneroster.version": "1.1"}
        lines |= {f"file.{name}": "bulk" if name in self.files else "absent" for name in FILES}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            content = "".join(f"{name},{value}\r\n" for name, value in (lines | self.manifest).items())
            archive.writestr(self.names.get("manifest", "manifest.csv"), content)
            for name, text in self.files.items():
                archive.writestr(self.names.get(name, f"{name}.csv"), self.raw.get(name, text.encode()))
        return path
