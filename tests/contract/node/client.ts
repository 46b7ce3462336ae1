// A client with the types that openapi-typescript generates: the smallest bodies must be accepted.
import type { components, paths } from "./rest.js";

type Body<Path extends keyof paths> = paths[Path] extends {
  post: { requestBody: { content: { "application/json": infer Content } } };
}
  ? Content
  : never;

export const concern: Body<"/v1/concerns"> = { student: "stu_1", area: "ela.fluency", description: "Reads slowly." };
export const decision: Body<"/v1/decisions"> = { kind: "continue", support: "sup_1" };
export const page = (body: paths["/v1/students"]["get"]["responses"][200]["content"]["application/json"]) =>
  body.items.map((student) => student.id);
export type Problem = components["schemas"]["Problem"];
