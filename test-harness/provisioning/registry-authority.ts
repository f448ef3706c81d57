import type { DeviceFile } from "../../src/provisioning/device-file.js";
import { RealClock } from "../clock.js";
import { openCalendar } from "../head-end/broadcasting.js";
import { EndToEnd } from "../head-end/end-to-end.js";
import { holdExclusively } from "../head-end/exclusive-file.js";
import { Registry } from "../head-end/registry.js";
import { SESSIONS_NAME, sessionsLockPath, sessionsPath } from "../head-end/session-files.js";
import { UserError } from "../user-error.js";
import { calendarRoot } from "./calendar-root.js";
import type { KeyAuthority, RegistryEntry } from "./key-authority.js";
import { today } from "./operations.js";
import type { FileLock } from "./sealed-file.js";

/**
 * The head end of one technician's command: the registry, and the end-to-end sessions under which authorisations are
 * sealed. Each index is durable before it is used. The sessions are those of the head end that speaks over the network:
 * two that seal under one index would use a key twice, so only one process has them.
 */
class RegistryAuthority implements KeyAuthority {
	readonly #registry: Registry;
	readonly #clock = new RealClock();
	#sessions: EndToEnd | undefined;
	#release: () => void = () => {};

	constructor(registry: Registry) {
		this.#registry = registry;
	}

	/** @throws UserError while the head end has them */
	#endToEnd(): EndToEnd {
		if (this.#sessions) return this.#sessions;
		this.#release = holdExclusively(sessionsLockPath(this.#registry.folder), SESSIONS_NAME);
		const sessions = new EndToEnd({
			registry: this.#registry,
			clock: this.#clock,
			log: () => {},
			transmit: () => {}, // the technician brings what is sealed
		});
		sessions.open(sessionsPath(this.#registry.folder));
		this.#sessions = sessions;
		return sessions;
	}

	list(): readonly RegistryEntry[] {
		return this.#registry.list();
	}

	add(meter: { id: string; domain: number; shortAddress: number; epoch: number }, into: DeviceFile): void {
		this.#registry.addMeter(meter.id, meter.domain, meter.shortAddress, meter.epoch, into);
	}

	again(id: string, into: DeviceFile): void {
		this.#registry.newestKeys(id, into);
	}

	renew(id: string, epoch: number, into: DeviceFile): void {
		this.#registry.renewMeter(id, epoch, into);
	}

	authorise(id: string, generation: number, epoch: number, message: Uint8Array): Uint8Array {
		if (!this.#registry.meter(id)) throw new UserError(`the registry knows no meter ${id}`);
		const sessions = this.#endToEnd();
		const stands = sessions.epochOf(id, generation);
		if (stands > epoch)
			throw new UserError(
				`the head end stands at day ${stands} of this meter's keys, the meter at ${epoch}: the meter needs the day's ANCHOR`,
			);
		const sealed = sessions.authorise(id, generation, epoch, message);
		if (!sealed) throw new UserError(`32 messages of today did not reach ${id}; it takes the next one tomorrow`);
		return sealed;
	}

	open(id: string, generation: number, sealed: Uint8Array): Uint8Array | undefined {
		return this.#endToEnd().openBrought(id, generation, sealed);
	}

	confirm(id: string, generation: number): void {
		this.#registry.confirmMeter(id, generation);
	}

	decommission(id: string): void {
		this.#registry.decommission(id);
		this.#sessions?.registryChanged();
	}

	anchor(epoch: number): Uint8Array | undefined {
		if (epoch > today()) return undefined; // a day that has not begun must not be let out
		const calendar = openCalendar(this.#registry);
		return calendar.has(epoch) ? calendar.anchorFor(epoch) : undefined;
	}

	close(): void {
		const sessions = this.#sessions;
		this.#sessions = undefined;
		if (sessions) sessions.closeNow();
		this.#release();
		this.#clock.close();
		this.#registry.close();
	}
}

export function openAuthority(folder: string, lock: FileLock): KeyAuthority {
	return new RegistryAuthority(Registry.open(folder, lock));
}

/** Begins a registry with a new master key, and a calendar that begins yesterday. @param domain of its concentrator */
export function createAuthority(folder: string, lock: FileLock, domain: number, calendarLevels = 14): KeyAuthority {
	const registry = Registry.create(folder, lock, {
		calendarFirstEpoch: today() - 1,
		calendarLevels,
		calendarRoot,
		concentrators: [{ identity: 1, domain }],
	});
	return new RegistryAuthority(registry);
}
