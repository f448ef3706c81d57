import { readdirSync } from "node:fs";
import { basename, dirname, extname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { createContext, Script } from "node:vm";
import { build } from "esbuild";
import type { Status } from "../../../src/bytes/status.js";
import type { MqttMachine } from "../../../src/mqtt/mqtt-machine.js";
import { mqttPacketPlugin } from "../../build/mqtt-packet-plugin.js";

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "..", "..", "..");

/** Names that XS does not have; the context must not have them either. */
const ABSENT = ["console", "SharedArrayBuffer", "Atomics", "WebAssembly", "escape", "unescape"];

/** Before the bundle: remembers what is made while modules load, and freezes the built-ins as XS does. */
const PRELUDE = `
for (const name of ${JSON.stringify(ABSENT)}) delete globalThis[name];
globalThis.$made = [];
globalThis.$isLoading = true;
for (const name of ["Uint8Array", "Uint16Array", "Uint32Array", "Int32Array", "DataView", "ArrayBuffer", "Map", "Set", "WeakMap"])
	globalThis[name] = new Proxy(globalThis[name], {
		construct(target, parameters, newTarget) {
			const made = Reflect.construct(target, parameters, newTarget);
			if ($isLoading) $made.push(made);
			return made;
		},
	});
for (const value of [Object, Function, Array, String, Number, Error, TypeError, RangeError, Uint8Array, Uint16Array, Uint32Array, ArrayBuffer, Map, Set, Math, Reflect]) {
	if (value.prototype) Object.freeze(value.prototype);
	Object.freeze(value);
}
Object.freeze(Object.getPrototypeOf(Uint8Array.prototype));
`;

export interface FirmwareBundle {
	readonly MqttMachine: typeof MqttMachine;
	readonly Status: typeof Status;
	readonly mqttPacket: {
		generate(packet: unknown, settings?: unknown): Uint8Array;
		parser(settings?: unknown): {
			on(event: string, handler: (value: unknown) => void): void;
			parse(bytes: Uint8Array): number;
		};
	};
	/** Size of the bundle's text. */
	readonly sourceBytes: number;
	/** Module-level typed arrays, Maps and the like, with what they held right after loading. */
	changedModuleState(): string[];
	readonly moduleArrayCount: number;
}

/** The machine with `mqtt-packet` as the firmware has it, in a context without Node's globals and with frozen built-ins. */
export async function firmwareBundle(): Promise<FirmwareBundle> {
	const shims = join(ROOT, "src", "mqtt", "shims");
	const alias: Record<string, string> = {};
	for (const file of readdirSync(shims))
		if (/\.(js|ts|cjs)$/.test(file)) alias[basename(file, extname(file))] = join(shims, file);
	const { outputFiles } = await build({
		stdin: {
			contents:
				'export { MqttMachine } from "./src/mqtt/mqtt-machine.js"; export { Status } from "./src/bytes/status.js";' +
				' export { default as mqttPacket } from "mqtt-packet";',
			resolveDir: ROOT,
			loader: "ts",
		},
		bundle: true,
		write: false,
		format: "iife",
		globalName: "$firmware",
		target: "es2022",
		supported: { "class-static-field": false },
		alias,
		plugins: [mqttPacketPlugin()],
		logLevel: "silent",
	});
	const text = outputFiles[0]!.text;
	const context = createContext({}) as Record<string, unknown>;
	new Script(PRELUDE).runInContext(context);
	new Script(`"use strict";\n${text}\nglobalThis.$firmware = $firmware; $isLoading = false;`).runInContext(context);
	const made = context["$made"] as unknown[];
	const picture = (value: unknown): string =>
		ArrayBuffer.isView(value)
			? Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("hex")
			: value instanceof Object && "size" in value
				? String(value.size)
				: "";
	const before = made.map(picture);
	const firmware = context["$firmware"] as Pick<FirmwareBundle, "MqttMachine" | "Status" | "mqttPacket">;
	return {
		MqttMachine: firmware.MqttMachine,
		Status: firmware.Status,
		mqttPacket: firmware.mqttPacket,
		sourceBytes: Buffer.byteLength(text),
		moduleArrayCount: made.length,
		changedModuleState: () => Array.from(made, picture).filter((now, i) => now !== before[i]),
	};
}
