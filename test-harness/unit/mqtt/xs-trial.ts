import { installFirmware } from "../../../hosts/xs/entry.js";
import { createSampleKernel } from "../../../src/metrology/sample-kernel.js";
import { MqttMachine } from "../../../src/mqtt/mqtt-machine.js";
import type { LinkEvents } from "../../../src/platform/link.js";
import type { MeterEvents, Platform } from "../../../src/platform/platform.js";

/** Firmware with nothing but an MQTT machine, which does what a test asks: one command for each piece of link data. */

const DIGITS = "0123456789abcdef";

/** XS 13.3 has neither Uint8Array.fromHex nor toHex. */
function toHex(bytes: Uint8Array, byteLength: number): string {
	let text = "";
	for (let i = 0; i < byteLength; i++) text += DIGITS[bytes[i]! >> 4]! + DIGITS[bytes[i]! & 15]!;
	return text;
}

const TOPIC = "meter/1/reading";
/** One, two, three and four bytes of UTF-8. XS counts the last as one character, Node as two. */
const WIDE_TOPIC = "aé€𐍈";

class Trial implements MeterEvents, LinkEvents {
	readonly #platform: Platform;
	readonly #piece = new Uint8Array(512);
	readonly #body = new Uint8Array(64).fill(0x5a);
	#machine: MqttMachine | undefined;
	#events: string[] = [];

	constructor(platform: Platform) {
		this.#platform = platform;
		platform.link.open();
	}

	linkReceived(bytes: Uint8Array, byteLength: number): void {
		let answer: string;
		try {
			answer = this.#obey(bytes, byteLength);
		} catch (error) {
			answer = `threw ${String(error)}`;
		}
		const events = this.#events.join(",");
		this.#events = [];
		const text = `${answer}|${events}`;
		const out = Uint8Array.from(text, (character) => character.charCodeAt(0));
		this.#platform.link.send(out, out.length);
	}

	/** First byte: the command; second: its parameter; the rest: bytes from the broker. */
	#obey(bytes: Uint8Array, byteLength: number): string {
		const parameter = bytes[1]!;
		switch (String.fromCharCode(bytes[0]!)) {
			case "n": // a new machine; parameter: protocol version, 0x80: clean session
				this.#machine = this.#make((parameter & 7) as 4 | 5, parameter >= 0x80);
				this.#machine.tick(0);
				this.#machine.tick(5_000);
				this.#machine.linkOpened(10_000);
				return this.#drain();
			case "r": {
				const status = this.#machine!.receive(10_001, bytes.subarray(2, byteLength), byteLength - 2);
				return `${status} ${this.#machine!.wantsLink()} ${this.#drain()}`;
			}
			case "p": // publishes without draining
				return `${this.#machine!.publish(parameter === 0 ? TOPIC : WIDE_TOPIC, this.#body, 64, 1, false)}`;
			case "d":
				return this.#drain();
			case "x": // drains without telling
				return `${this.#machine!.transmit(this.#piece)}`;
			case "e":
				return "";
			default:
				return "?";
		}
	}

	#make(protocolVersion: 4 | 5, cleanSession: boolean): MqttMachine {
		const say = (text: string): void => {
			this.#events.push(text);
		};
		return new MqttMachine(
			{
				clientIdentifier: "meter-1",
				protocolVersion,
				cleanSession,
				sessionExpirySeconds: 86_400,
				keepAliveSeconds: 60,
				backOffMinimumMilliseconds: 1_000,
				backOffMaximumMilliseconds: 60_000,
				inFlightMax: 4,
				packetBytesMax: 512,
			},
			{
				connected: (sessionPresent) => say(`connected ${sessionPresent}`),
				disconnected: (status) => say(`disconnected ${status}`),
				published: (handle) => say(`published ${handle}`),
				refused: (handle, reasonCode) => say(`refused ${handle} ${reasonCode}`),
				message: (topic, payload, length) => {
					let codes = "";
					for (const character of topic) codes += `${character.codePointAt(0)!.toString(16)}.`;
					say(`message ${codes} ${toHex(payload, length)}`);
				},
				subscriptionRefused: (_topic, reasonCode) => say(`subscriptionRefused ${reasonCode}`),
			},
			() => 0.5,
		);
	}

	#drain(): string {
		let text = "";
		for (let count = this.#machine!.transmit(this.#piece); count > 0; count = this.#machine!.transmit(this.#piece))
			text += toHex(this.#piece, count);
		return text;
	}

	linkOpened(): void {}
	linkWritable(): void {}
	opticalReceived(): void {}
	linkClosed(): void {}
	samples(): void {}
	samplesLost(): void {}
	inputChanged(): void {}
	tick(): void {}
	deadlineMilliseconds(): number {
		return Number.POSITIVE_INFINITY;
	}
}

installFirmware((platform) => new Trial(platform), createSampleKernel);
