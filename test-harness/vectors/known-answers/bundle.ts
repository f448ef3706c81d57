import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { ROOT } from "../../root.js";
import { KNOWN_ANSWERS, loadKnownAnswers } from "./load.js";

/** Writes when the content differs, so that a build that looks at times does no more than it must. */
export function writeIfChanged(path: string, content: string): void {
	if (existsSync(path) && readFileSync(path, "utf8") === content) return;
	mkdirSync(dirname(path), { recursive: true });
	writeFileSync(path, content);
}

/** The vectors as a module: one object, frozen all through, so that preload puts it in flash and no byte of it in RAM. */
export function answersModule(): string {
	return (
		"const freeze = (value) => {\n" +
		'\tif (typeof value === "object" && value !== null) Object.values(Object.freeze(value)).forEach(freeze);\n' +
		"\treturn value;\n};\n" +
		`export default freeze(${JSON.stringify(loadKnownAnswers(), undefined, "\t")});\n`
	);
}

/** Writes the entry module of the known answers for the XS hosts that share hosts/xs. @returns its path, for `buildFirmware` */
export function writeXsEntry(): string {
	const folder = join(ROOT, "build", "known-answers");
	const entry = join(folder, "main.js");
	writeIfChanged(join(folder, "answers.js"), answersModule());
	writeIfChanged(
		entry,
		'import answers from "./answers.js";\n' +
			`import { installKnownAnswers } from "${relative(folder, join(ROOT, KNOWN_ANSWERS, "xs-main.ts"))}";\n` +
			"installKnownAnswers(answers);\n",
	);
	return entry;
}
