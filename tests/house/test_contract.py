"""Tests the contract: the committed files match the code, and every operation is completely described."""

from fastapi import FastAPI

from app.access.permission import GRANTABLE
from app.cli.contracts import FOLDER, _contracts
from app.rest.contract.sharing import resolved
from tests.house.walk import operations
from tests.house.walk_knows import CONFLICTING_READS, OPEN


def test_the_committed_contracts_have_not_drifted() -> None:
    """The committed contracts equal the generated ones.

    Every change of the APIs therefore also changes a committed file.
    """
    made = _contracts()
    assert {path.name for path in FOLDER.iterdir() if path.is_file()} == set(made)
    for name, text in made.items():
        assert (FOLDER / name).read_text() == text, f"openapi/{name} has drifted. Run: aimline contracts"


def test_every_operation_says_all_of_itself(app: FastAPI) -> None:
    """Every operation has an id, a summary, a description, its scopes, and a meaning for each answer."""
    contract = app.openapi()
    names = [one.name for one in operations(app)]
    assert len(names) == len(set(names))
    for operation in operations(app):
        described = contract["paths"][operation.path][operation.method.lower()]
        assert described.get("summary"), operation.name
        assert described.get("description", "").endswith("."), operation.name
        if operation.name in OPEN:
            continue
        assert described["tags"], operation.name
        (security,) = described["security"]
        assert set(security["oauth2"]) <= {can.value for can in GRANTABLE}, operation.name
        for status, answer in described["responses"].items():
            if status >= "400":
                assert set(resolved(contract, answer)["content"]) == {"application/problem+json"}, (
                    operation.name,
                    status,
                )
        assert {"400", "401", "403", "429", "500", "503"} <= described["responses"].keys(), operation.name
        assert ("404" in described["responses"]) == ("{" in operation.path), operation.name
        assert ("409" in described["responses"]) == (not operation.reads or operation.name in CONFLICTING_READS), (
            operation.name
        )


def test_scopes_are_explained(app: FastAPI) -> None:
    """The security scheme names every scope that a client can be granted, and no internal one."""
    scheme = app.openapi()["components"]["securitySchemes"]["oauth2"]
    scopes = scheme["flows"]["clientCredentials"]["scopes"]
    assert set(scopes) == {can.value for can in GRANTABLE}
    assert all(scopes.values())
