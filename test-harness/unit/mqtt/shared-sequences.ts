import { readSharedFile, sharedData } from "../../vectors/shared-data.js";

export interface Sequence {
	readonly file: string;
	readonly group: string;
	readonly name: string;
	readonly version: 3 | 4 | 5;
	/** A normal CONNACK comes first. */
	readonly isConnected: boolean;
	/** The client publishes QoS 1 first. */
	readonly isPublishing: boolean;
	readonly expectDisconnect: boolean;
	readonly messages: readonly { readonly isSent: boolean; readonly bytes: Buffer }[];
}

interface Options {
	ver?: 3 | 4 | 5;
	connack?: boolean;
	connect?: boolean;
	command?: string;
	expect_disconnect?: boolean;
}
interface Message {
	type: "send" | "recv";
	payload: string;
}
type Test = Options & { name: string; msgs: Message[] };
type Group = Options & { group: string; tests: Test[]; group_msgs?: Message[] };

const FILES = ["CONNACK", "DISCONNECT", "PINGRESP", "PUBACK", "PUBLISH"];

/** Bytes of a payload in the token language of `shared/data/mqtt/README.md`. */
export function encodeTokens(payload: string): Buffer {
	const out: number[] = [];
	const variable = (value: number): void => {
		do {
			const rest = Math.floor(value / 128);
			out.push((value % 128) | (rest > 0 ? 0x80 : 0));
			value = rest;
		} while (value > 0);
	};
	for (const token of payload.split(" ").filter((part) => part !== "")) {
		const number = Number(token.slice(1));
		const kind = token[0]!;
		if (kind === "'") out.push(...Buffer.from(token.slice(1, -1), "utf8"));
		else if (kind === "r" || kind === "v") variable(number);
		else if ("skmH".includes(kind)) out.push(number >> 8, number & 0xff);
		else if (kind === "i") out.push(number);
		else if (kind === "L")
			out.push((number >>> 24) & 0xff, (number >>> 16) & 0xff, (number >>> 8) & 0xff, number & 0xff);
		else if (/^([0-9a-fA-F]{2})+$/.test(token)) out.push(...Buffer.from(token, "hex"));
		else throw new Error(`unknown token ${token}`);
	}
	return Buffer.from(out);
}

/** All sequences that a broker sends to a client, or the reason why they are not here. */
export function sequencesToClient(): { skip: false; sequences: Sequence[] } | { skip: string; sequences: Sequence[] } {
	const { skip } = sharedData("mqtt");
	const sequences: Sequence[] = [];
	if (skip !== false) return { skip, sequences };
	for (const file of FILES)
		for (const group of JSON.parse(readSharedFile("mqtt", `to_client/${file}.json`).toString("utf8")) as Group[])
			for (const test of group.tests)
				sequences.push({
					file,
					group: group.group.replace(/ +/g, " "),
					name: test.name,
					version: test.ver ?? group.ver ?? 4,
					isConnected: (test.connack ?? group.connack ?? true) && (test.connect ?? group.connect ?? true),
					isPublishing: (test.command ?? group.command) === "publish-1",
					expectDisconnect: test.expect_disconnect ?? group.expect_disconnect ?? true,
					messages: test.msgs.map(({ type, payload }) => ({ isSent: type === "send", bytes: encodeTokens(payload) })),
				});
	return { skip: false, sequences };
}
