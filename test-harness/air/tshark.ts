import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tool } from "../tools.js";

export const tshark = tool("tshark");

/** One value for each field and packet, as `tshark -T fields` prints them. */
export function dissect(
	capture: Uint8Array,
	keys: readonly string[],
	fields: readonly string[],
	filter = "",
): string[][] {
	const folder = mkdtempSync(join(tmpdir(), "air-"));
	try {
		const file = join(folder, "air.pcap");
		writeFileSync(file, capture);
		const table = keys.flatMap((key, i) => [
			"-o",
			`uat:zigbee_pc_keys:"${key.match(/../g)!.join(":")}","Normal","key${i}"`,
		]);
		const run = spawnSync(
			tshark.path,
			[
				"-n",
				"-r",
				file,
				...table,
				"-T",
				"fields",
				"-E",
				"separator=/t",
				...(filter === "" ? [] : ["-Y", filter]),
				...fields.flatMap((field) => ["-e", field]),
			],
			{ encoding: "utf8", maxBuffer: 1 << 28, env: { ...process.env, HOME: folder } },
		);
		if (run.status !== 0) throw new Error(`tshark: ${run.stderr}`);
		return run.stdout
			.split("\n")
			.filter((line) => line !== "")
			.map((line) => line.split("\t"));
	} finally {
		rmSync(folder, { recursive: true });
	}
}

/** Packets that tshark finds wrong: bad FCS, malformed, or secured and not opened. Empty: none. */
export function complaints(capture: Uint8Array, keys: readonly string[]): string[] {
	const rows = dissect(capture, keys, [
		"frame.number",
		"_ws.expert.message",
		"wpan.fcs_ok",
		"zbee_nwk.security",
		"zbee_aps.cmd.id",
		"_ws.col.Protocol",
		"_ws.col.Info",
	]);
	return rows
		.filter(([, expert = "", fcs = "", , , , info = ""]) => {
			if (/malformed|decrypt|unknown|undecoded/i.test(expert) || /malformed|encrypted/i.test(info)) return true;
			return fcs === "0" || fcs === "False";
		})
		.map((row) => row.join(" | "));
}
