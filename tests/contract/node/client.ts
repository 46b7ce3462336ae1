// A client with the types that openapi-typescript generates: the smallest bodies must be accepted.
import type { components, paths } from "./rest.js";

type Body<Path extends keyof paths> = paths[Path] extends {
  post: { requestBody: { content: { "application/json": infer Content } } };
}
  ? Content
  : never;

export const concern: Body<"/v1/concerns"> = { student: "stu_1", area: "ela.fluency", description: "Reads slowly." };
export const support: Body<"/v1/supports"> = {
  student: "stu_1",
  intervention: "Repeated reading",
  level: 2,
  measure: "orf",
  starts_on: "2026-09-07",
  goal: 90,
  goal_on: "2027-03-08",
  minutes_per_session: 30,
  sessions_per_week: 3,
};
export const page = (body: paths["/v1/students"]["get"]["responses"][200]["content"]["application/json"]) =>
  body.items.map((student) => student.id);
export type Problem = components["schemas"]["Problem"];
