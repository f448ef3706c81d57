import assert from "node:assert/strict";
import { Status } from "../../../src/bytes/status.js";
import { Arena } from "../../../src/key-store/arena.js";
import { KEY_STORE_ARENA_BYTES, KeyStore } from "../../../src/key-store/key-store.js";
import { startOdometer } from "../../../src/key-store/odometer.js";
import { ServerUnicast } from "../../../src/key-store/server-unicast.js";
import { CONTENT_PREFIX_BYTES, WHOLE_DAY } from "../../../src/messages/channel.js";
import {
	AUTHORISATION_BYTES,
	AuthorisationKind,
	encodeAuthorisation,
	fileSubject,
	meterSubject,
} from "../../../src/provisioning/authorisation.js";
import type { DeviceFile } from "../../../src/provisioning/device-file.js";
import { KeyStoreProvisioning, type ProvisioningHost } from "../../../src/provisioning/key-store-provisioning.js";
import { OpticalPortMachine, OpticalRequest } from "../../../src/provisioning/optical-port.js";
import type { FlashSimulator } from "../../board/flash-simulator.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { AREA, deviceKey, newFlash } from "../key-store/world.js";
import { type Answer, ask, fileBytes, METER_ID, MemoryAttempts, question } from "./samples.js";

export class TestHost implements ProvisioningHost {
	readonly id: Uint8Array = METER_ID;
	readonly firmwareMajor = 1;
	readonly firmwareMinor = 0;
	readonly firmwarePatch = 0;
	intervalNow = 10;
	earliest = 0;
	changes = 0;
	anchorAnswer: Status = Status.ok;

	interval(): number {
		return this.intervalNow;
	}
	earliestEpoch(): number {
		return this.earliest;
	}
	read(what: number, into: Uint8Array, offset: number): number {
		if (what !== 0) return offset;
		into[offset] = 1;
		return offset + 1;
	}
	anchor(): Status {
		return this.anchorAnswer;
	}
	keysChanged(): void {
		this.changes++;
	}
}

/** A meter with a key store on flash behind an optical port; each boot makes a new one on the same flash. */
export class TestMeter {
	readonly host = new TestHost();
	readonly keys: KeyStore;
	readonly provisioning: KeyStoreProvisioning;
	readonly machine: OpticalPortMachine;
	readonly arena = new Arena(KEY_STORE_ARENA_BYTES);
	sequence = 0;

	constructor(flash: FlashSimulator = newFlash(), attempts = new MemoryAttempts(), key = deviceKey()) {
		const crypto = new NodeCrypto();
		this.keys = new KeyStore(crypto, flash, key, AREA, this.arena);
		this.provisioning = new KeyStoreProvisioning(crypto, this.keys, this.host);
		this.machine = new OpticalPortMachine(this.provisioning, attempts, 0);
		this.provisioning.openStatus = this.keys.open();
	}

	ask(request: number, ...body: readonly Uint8Array[]): Answer {
		const answer = ask(this.machine, 0, question(request, new Uint8Array(Buffer.concat(body)), ++this.sequence));
		assert.ok(answer, "no answer");
		return answer;
	}

	provision(file: DeviceFile): Answer {
		return this.ask(OpticalRequest.provision, fileBytes(file));
	}

	reseed(file: DeviceFile, authorisation: Uint8Array): Answer {
		return this.ask(OpticalRequest.reseed, fileBytes(file), authorisation);
	}

	decommission(authorisation: Uint8Array): Answer {
		return this.ask(OpticalRequest.decommission, authorisation);
	}
}

/** The head end's (or, on branch 1, the concentrator's) end of the keys of one device file. */
export class TestHeadEnd {
	readonly unicast: ServerUnicast;
	readonly file: DeviceFile;

	constructor(file: DeviceFile, branch: 0 | 1 = 0, epoch: number = file.epoch) {
		this.file = file;
		const crypto = new NodeCrypto();
		const odometer = new Uint8Array(160);
		odometer.set(file.roots.subarray(32 * branch, 32 * branch + 32), 128);
		startOdometer(crypto, odometer, 0, epoch, 128);
		const { id, domain, shortAddress } = file;
		this.unicast = new ServerUnicast(crypto, { branch, id, domain, shortAddress, save: () => true });
		assert.equal(this.unicast.startDay(epoch, odometer, 128), Status.ok);
	}

	seal(content: Uint8Array, type = 0x09): Uint8Array {
		const into = new Uint8Array(content.length + 18);
		const count = this.unicast.sealMessage(type, content, content.length, into);
		assert.equal(count, into.length, "not sealed");
		return into;
	}

	authorisation(kind: number, subject: Uint8Array, notAfter: number = WHOLE_DAY, type = 0x09): Uint8Array {
		const content = new Uint8Array(CONTENT_PREFIX_BYTES + AUTHORISATION_BYTES);
		content[0] = notAfter >> 8;
		content[1] = notAfter;
		encodeAuthorisation({ kind, subject }, content, CONTENT_PREFIX_BYTES);
		return this.seal(content, type);
	}

	mayTake(file: DeviceFile, notAfter: number = WHOLE_DAY): Uint8Array {
		const subject = new Uint8Array(20);
		fileSubject(new NodeCrypto(), fileBytes(file), 0, subject);
		return this.authorisation(AuthorisationKind.reseed, subject, notAfter);
	}

	mayForget(generation: number = this.file.generation, notAfter: number = WHOLE_DAY): Uint8Array {
		const subject = new Uint8Array(20);
		meterSubject(new NodeCrypto(), this.file.id, generation, subject);
		return this.authorisation(AuthorisationKind.decommission, subject, notAfter);
	}
}
