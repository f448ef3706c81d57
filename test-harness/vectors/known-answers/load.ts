import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { ROOT } from "../../root.js";
import type { KnownAnswers } from "./suite.js";

/** Folder of the vectors, from the project's folder. */
export const KNOWN_ANSWERS = "test-harness/vectors/known-answers";

/** All vector files: one group each, named as the file. */
export function loadKnownAnswers(): KnownAnswers {
	const folder = join(ROOT, KNOWN_ANSWERS);
	const answers: Record<string, unknown> = {};
	for (const file of readdirSync(folder).sort())
		if (file.endsWith(".json") && !file.startsWith("manifest"))
			answers[basename(file, ".json")] = JSON.parse(readFileSync(join(folder, file), "utf8"));
	return answers as unknown as KnownAnswers;
}
