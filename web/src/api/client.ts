// A client of the hub, typed by its OpenAPI document. `schema.d.ts` is generated: `npm run api`.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

/** A client of the hub at `hub`: `http://127.0.0.1:8000`. It shows `key`, an API key or an access token; browsers with a session need none. */
export function connect(hub: string, key?: string) {
  return createClient<paths>({ baseUrl: hub, ...(key ? { headers: { Authorization: `Bearer ${key}` } } : {}) });
}

/** Types of the document by their names. */
export type Schema<Name extends keyof components["schemas"]> = components["schemas"][Name];

/** Why the hub refused something, in one sentence. */
export function reason(problem: Schema<"Problem"> | undefined): string {
  return problem ? `${problem.detail} (${problem.code})` : "the hub gave no reason";
}
