import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../root.js";

interface Collected {
	/** File below docs/. */
	readonly file: string;
	readonly title: string;
	readonly introduction: string;
	/** Folders, and files, whose comments with a table are taken, in this order. */
	readonly folders: readonly string[];
}

const DOCUMENTS: readonly Collected[] = [
	{
		file: "WIRE.md",
		title: "The wire",
		introduction:
			"Every message between meter, concentrator and head end, bit by bit: enough to write the other end without our code.\nWho sends what on which topic, and under which keys: [DESIGN-SECURED-CHANNEL.md](DESIGN-SECURED-CHANNEL.md). `…/online` is retained\n(`1`, will `0`); `…/state` is JSON for Home Assistant, optional and plain. An identifier is the EUI-64 in 16 lower-case\nhexadecimal digits.",
		folders: ["src/key-store/unicast.ts", "src/messages", "src/broadcast", "src/provisioning", "src/group-keys"],
	},
];

/** Doc comments that hold a Markdown table, with the comment stars removed. */
function tables(source: string): string[] {
	const found: string[] = [];
	for (const match of source.matchAll(/\/\*\*\n([\s\S]*?)\*\//g)) {
		const text = (match[1] ?? "")
			.split("\n")
			.map((line) => line.replace(/^\s*\* ?/, ""))
			.join("\n")
			.trim();
		if (/^\|[-: |]+\|$/m.test(text))
			found.push(text.replace(/([^\n|])\n\|/g, "$1\n\n|").replace(/\|\n(?=[^|\n])/g, "|\n\n"));
	}
	return found;
}

function collect(document: Collected): string {
	const parts = [
		`# ${document.title}`,
		document.introduction,
		"Collected from the source by `npm run check -- --write`; change it there.",
	];
	for (const folder of document.folders) {
		const paths = folder.endsWith(".ts")
			? [folder]
			: readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
					.filter((name) => name.endsWith(".ts"))
					.sort()
					.map((name) => `${folder}/${name}`);
		for (const path of paths) {
			const found = tables(readFileSync(join(ROOT, path), "utf8"));
			if (found.length > 0) parts.push(`## ${path}`, ...found);
		}
	}
	return `${parts.join("\n\n")}\n`;
}

/** Numbered checks of received bytes: `// ABC-1` behind the line that refuses. */
function checks(folder: string, found: string[]): string[] {
	for (const entry of readdirSync(join(ROOT, folder), { withFileTypes: true })) {
		const path = `${folder}/${entry.name}`;
		if (entry.isDirectory()) checks(path, found);
		else if (entry.name.endsWith(".ts"))
			for (const line of readFileSync(join(ROOT, path), "utf8").split("\n")) {
				const match = /^\s*(.*?)\s*\/\/ ([A-Z]{3}-\d+(?:, [A-Z]{3}-\d+)*)(?::.*)?$/.exec(line);
				if (match) found.push(`| ${match[2]} | \`${(match[1] ?? "").replaceAll("|", "\\|")}\` | ${path} |`);
			}
	}
	return found;
}

function collectChecks(): string {
	const rows = checks("src", []).sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
	return [
		"# Checks",
		"Every numbered refusal of received or stored bytes, with the line that makes it. Collected from the source by\n`npm run check -- --write`. The tests that provoke them: `test-harness/unit`, `property`, `fuzz`.",
		`| check | line | where |\n|---|---|---|\n${rows.join("\n")}`,
	]
		.join("\n\n")
		.concat("\n");
}

/** Compares the collected documents with the source. @returns those that differ (after writing them, none) */
export function collectDocuments(write: boolean): string[] {
	const stale: string[] = [];
	const texts = DOCUMENTS.map((document) => ({ file: document.file, text: collect(document) }));
	texts.push({ file: "CHECKS.md", text: collectChecks() });
	for (const { file, text } of texts) {
		const path = join(ROOT, "docs", file);
		if (existsSync(path) && readFileSync(path, "utf8") === text) continue;
		if (write) writeFileSync(path, text);
		else stale.push(`docs/${file}`);
	}
	return stale;
}
