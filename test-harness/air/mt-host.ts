import { encodeMtFrame, MT_FRAME_MAX, MtParser, MtType } from "../../src/zigbee/mt-frame.js";
import type { Air } from "./air.js";
import type { ZnpModule } from "./znp-module.js";

export interface MtMessage {
	readonly type: number;
	readonly command: number;
	readonly data: Buffer;
}

/** A host of a virtual co-processor for scripts in virtual time: asks and waits, and keeps what came by itself. */
export class MtHost {
	readonly module: ZnpModule;
	/** What came unasked, oldest first. */
	readonly events: MtMessage[] = [];
	readonly #air: Air;
	readonly #parser = new MtParser();
	#response: MtMessage | undefined;

	constructor(air: Air, module: ZnpModule) {
		this.#air = air;
		this.module = module;
		module.toHost = (frame) => {
			const parser = this.#parser;
			parser.feed(frame, frame.length);
			while (parser.next()) {
				const message = {
					type: parser.cmd0 >> 5,
					command: ((parser.cmd0 & 0x1f) << 8) | parser.cmd1,
					data: Buffer.from(parser.frame.subarray(4, 4 + parser.dataLength)),
				};
				if (message.type === MtType.synchronousResponse) this.#response = message;
				else this.events.push(message);
			}
		};
	}

	send(type: number, command: number, data: readonly number[] | Uint8Array = []): void {
		const frame = new Uint8Array(MT_FRAME_MAX);
		const bytes = Uint8Array.from(data);
		const length = encodeMtFrame((type << 5) | (command >> 8), command & 0xff, bytes, bytes.length, frame);
		this.module.receive(frame, length);
	}

	/** @throws when no answer comes within six seconds */
	request(command: number, data: readonly number[] | Uint8Array = []): Buffer {
		this.#response = undefined;
		this.send(MtType.synchronousRequest, command, data);
		this.#air.clock.runUntilTrue(() => this.#response !== undefined, 6);
		const response = this.#response as MtMessage | undefined;
		if (response?.command !== command) throw new Error(`no answer to 0x${command.toString(16)}`);
		return response.data;
	}

	/** Waits for an unasked message and takes it out of `events`; undefined when it does not come in time. */
	wait(command: number, seconds: number, isWanted: (data: Buffer) => boolean = () => true): Buffer | undefined {
		const find = (): number => this.events.findIndex((one) => one.command === command && isWanted(one.data));
		if (!this.#air.clock.runUntilTrue(() => find() >= 0, seconds)) return undefined;
		return this.events.splice(find(), 1)[0]!.data;
	}
}
