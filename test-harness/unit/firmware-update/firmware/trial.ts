import { installFirmware } from "../../../../hosts/xs/entry.js";
import { Status } from "../../../../src/bytes/status.js";
import type { CryptoPlatform } from "../../../../src/crypto/crypto-platform.js";
import { BootLoader } from "../../../../src/firmware-update/boot.js";
import { type SecurityVersionStore, UpdateMachine } from "../../../../src/firmware-update/update-machine.js";
import { FirmwareTarget } from "../../../../src/messages/firmware-update.js";
import type { LinkEvents } from "../../../../src/platform/link.js";
import type { MeterEvents } from "../../../../src/platform/platform.js";
import type { SampleKernel } from "../../../../src/platform/sample-kernel.js";

/** Firmware that can do nothing but be updated: messages over its link, each behind two bytes of length. */

/** Instead of a message: the firmware finds that it works. */
const CONFIRM = 0xff;

class NoKernel implements SampleKernel {
	process(_block: Uint8Array, _rowIndex: number, rowCount: number): number {
		return rowCount;
	}

	windowClosed(): boolean {
		return false;
	}

	configure(): void {}
	close(): void {}
}

class NoStore implements SecurityVersionStore {
	minimumSecurityVersion(): number {
		return 0;
	}

	raiseSecurityVersion(): Status {
		return Status.ok;
	}
}

class Trial implements MeterEvents, LinkEvents {
	readonly #platform: CryptoPlatform;
	readonly #machine: UpdateMachine;
	readonly #frame = new Uint8Array(2 + 1024);
	readonly #message = new DataView(this.#frame.buffer, 2);
	readonly #answer = new Uint8Array(2 + 512);
	readonly #answerView = new DataView(this.#answer.buffer);
	readonly #answerBody = new DataView(this.#answer.buffer, 2);
	#filled = 0;

	constructor(platform: CryptoPlatform, publicKey: readonly number[], minor: number) {
		const slot = platform.bootedSlot ?? -1;
		this.#platform = platform;
		this.#machine = new UpdateMachine(platform.flash, platform.crypto, new NoStore(), {
			running: { major: 0, minor, patch: 0, securityVersion: 0 },
			target: FirmwareTarget.linuxXs,
			bootedSlot: slot,
			trialMilliseconds: 60_000,
		});
		this.#machine.open(platform.clock.monotonicMilliseconds());
		const key = Uint8Array.from(publicKey);
		this.#machine.setPublicKey(key, 0, key.length);
		platform.log.line(`firmware 0.${minor}.0 slot ${slot} state ${this.#machine.state}`);
		platform.link.open();
	}

	linkOpened(): void {}
	linkClosed(): void {}
	linkWritable(): void {}
	samples(): void {}
	samplesLost(): void {}
	inputChanged(): void {}
	opticalReceived(): void {}

	linkReceived(bytes: Uint8Array, byteLength: number): void {
		for (let i = 0; i < byteLength; i++) {
			this.#frame[this.#filled++] = bytes[i]!;
			const wanted = this.#filled < 2 ? 2 : 2 + this.#frame[0]! * 256 + this.#frame[1]!;
			if (this.#filled < Math.max(wanted, 3)) continue;
			const now = this.#platform.clock.monotonicMilliseconds();
			if (this.#frame[2] === CONFIRM) this.#platform.log.line(`confirmed ${this.#machine.confirm()}`);
			else this.#machine.receive(now, this.#message, wanted - 2);
			this.#filled = 0;
			this.#go();
		}
	}

	tick(): void {
		this.#machine.tick(this.#platform.clock.monotonicMilliseconds());
		this.#go();
	}

	deadlineMilliseconds(): number {
		return this.#machine.deadlineMilliseconds();
	}

	#go(): void {
		const byteLength = this.#machine.transmit(this.#answerBody);
		if (byteLength > 0) {
			this.#answerView.setUint16(0, byteLength);
			this.#platform.link.send(this.#answer, 2 + byteLength);
		}
		if (this.#machine.wantsRestart) this.#platform.board.restart();
	}
}

/** Makes the firmware; its settings are the public key as a list of bytes. */
export function installTrial(minor: number): void {
	installFirmware(
		(platform, settingsText) => new Trial(platform, JSON.parse(settingsText) as number[], minor),
		() => new NoKernel(),
		(flash, crypto, canStart) => new BootLoader(flash, crypto, { target: FirmwareTarget.linuxXs, canStart }),
	);
}
