import { Status } from "../../src/bytes/status.js";
import { HoraMember } from "../../src/group-keys/hora/member.js";
import { DOMAIN_GROUP, Way } from "../../src/group-keys/scheme.js";
import { FastCrypto } from "./fast-crypto.js";
import { Oracle, valuesOf } from "./oracle.js";
import type { ControlledScheme } from "./registry.js";
import { GroupWorld, seededNumbers } from "./world.js";

/** What the oracle says of a history: how many generations of how many were open to whom. */
export interface Verdict {
	generations: number;
	/** To all former members together. */
	toFormer: number;
	/** To all later members together. */
	toLater: number;
	/** To all outsiders together. */
	toCoalition: number;
	/** To who has the flash of all members at the end: earlier keys. */
	toPresent: number;
	/** Members that could not derive the key. */
	cannot: number;
}

interface Snapshot {
	readonly group: number;
	readonly generation: number;
	readonly key: string;
	readonly members: ReadonlySet<number>;
	readonly after: number;
}

const GROUP = 1;
const SLOTS = 8;
const METERS = 14;

/**
 * A random history of a domain and a group on real bytes, and the oracle's verdict over it: joins, leaves, batches,
 * refreshes, and days. Every meter's own secrets and all that it was ever sent count as known to it, for good.
 */
export function runHistory(scheme: ControlledScheme, seed: number, events: number, crypto = new FastCrypto()): Verdict {
	const oracle = new Oracle(crypto);
	const world = new GroupWorld({
		scheme,
		seed,
		domainSlots: SLOTS,
		groupSlots: SLOTS,
		groupsMax: 1,
		controllerCrypto: oracle,
		memberCrypto: crypto,
	});
	const below = seededNumbers(seed, "history");
	const knows = new Map<number, Set<string>>();
	/** The last event at which a meter came in. */
	const joinedAt = new Map<string, number>();
	const inside = new Map<number, ReadonlySet<number>>();
	const snapshots: Snapshot[] = [];
	let seen = 0;
	// A HORA meter learns of its own eviction, from a verified message, and wipes what it had.
	world.onDeliver = ({ scheme }, { bytes }, status) => {
		if (status !== Status.notAuthorised || !(scheme instanceof HoraMember)) return;
		if (scheme.stageLeave(bytes[3]!) === Status.ok) scheme.commit();
	};
	const knowledge = (meter: number): Set<string> => {
		const found = knows.get(meter) ?? new Set<string>();
		knows.set(meter, found);
		const leafKey = new Uint8Array(16);
		for (const group of [DOMAIN_GROUP, GROUP]) {
			world.keysOf(meter).deriveLeafKey(group, leafKey, 0);
			found.add(Buffer.from(leafKey).toString("hex"));
		}
		return found;
	};
	const pick = (from: readonly number[], count: number): number[] => {
		const left = [...from];
		const picked: number[] = [];
		while (picked.length < count && left.length > 0) picked.push(...left.splice(below(left.length), 1));
		return picked;
	};
	for (let event = 0; event < events; event++) {
		const group = event < 4 ? DOMAIN_GROUP : below(3) === 0 ? GROUP : DOMAIN_GROUP;
		const members = world.controller.members(group);
		const all = group === DOMAIN_GROUP ? Array.from({ length: METERS }, (_, i) => i) : world.controller.members(0);
		const free = all.filter((meter) => !members.includes(meter));
		const room = SLOTS - members.length;
		const dice = below(100);
		for (const meter of all) knowledge(meter);
		if (dice < 8 && event > 4) world.nextDay();
		else if (dice < 16 && members.length > 0) world.refresh(group, members[below(members.length)]!);
		else if (dice < 30 && members.length > 3)
			world.change(group, pick(members, 1 + below(2)), pick(free, Math.min(room, below(3))));
		else if ((dice < 62 && free.length > 0 && room > 0) || members.length < 3) {
			if (free.length > 0 && room > 0) world.change(group, [], pick(free, 1));
		} else world.change(group, pick(members, 1), []);
		const news = world.recorded.slice(seen);
		seen = world.recorded.length;
		oracle.onAir(news.filter(({ way }) => way === Way.broadcast).map(({ bytes }) => bytes));
		for (const { way, to, bytes } of news)
			if (way === Way.unicast) for (const value of valuesOf(bytes)) knowledge(to).add(value);
		for (const each of [DOMAIN_GROUP, GROUP]) {
			const generation = world.controller.generation(each);
			if (generation < 0 || world.controller.members(each).length === 0) continue;
			const now = new Set(world.controller.members(each));
			for (const meter of now) if (!inside.get(each)?.has(meter)) joinedAt.set(`${each} ${meter}`, event);
			inside.set(each, now);
			world.assertAgreement(each, `seed ${seed}, event ${event}`);
			const key = Buffer.from(world.groupKey(each)).toString("hex");
			// A key that stays while members come in is theirs before their time: the oracle finds it with them.
			if (!snapshots.some((before) => before.key === key))
				snapshots.push({ group: each, generation, key, members: now, after: event });
		}
	}
	const verdict: Verdict = {
		generations: snapshots.length,
		toFormer: 0,
		toLater: 0,
		toCoalition: 0,
		toPresent: 0,
		cannot: 0,
	};
	const union = (meters: readonly number[]): Set<string> => {
		const values = new Set<string>();
		for (const meter of meters) for (const value of knows.get(meter) ?? []) values.add(value);
		return values;
	};
	for (const { group, key, members, after } of snapshots) {
		const outside = [...knows.keys()].filter((meter) => !members.has(meter));
		// Who was never in, or left before and never came back, against who came in later, for the first time or again.
		const isFormer = (meter: number) => (joinedAt.get(`${group} ${meter}`) ?? 0) <= after;
		if (oracle.close(union(outside)).has(key)) {
			verdict.toCoalition++;
			if (oracle.close(union(outside.filter(isFormer))).has(key)) verdict.toFormer++;
			if (oracle.close(union(outside.filter((meter) => !isFormer(meter)))).has(key)) verdict.toLater++;
		}
	}
	for (const { key, members } of snapshots.slice(-6))
		for (const meter of members) if (!oracle.close(union([meter])).has(key)) verdict.cannot++;
	const flash = new Set<string>();
	for (const id of world.controller.members(DOMAIN_GROUP)) {
		const meter = world.meter(id);
		const { scheme } = meter;
		if (scheme instanceof HoraMember && scheme.stageForget() === Status.ok) scheme.commit();
		const bytes = new Uint8Array(scheme.stagedBytesMax);
		for (const value of valuesOf(bytes.subarray(0, scheme.encodeStaged(new DataView(bytes.buffer))))) flash.add(value);
	}
	const open = oracle.close(flash);
	const present = [DOMAIN_GROUP, GROUP].filter((group) => world.controller.generation(group) >= 0);
	const current = new Set(present.map((group) => Buffer.from(world.groupKey(group)).toString("hex")));
	for (const { key } of snapshots) if (open.has(key) && !current.has(key)) verdict.toPresent++;
	return verdict;
}

export function addVerdict(sum: Verdict, other: Verdict): void {
	sum.generations += other.generations;
	sum.toFormer += other.toFormer;
	sum.toLater += other.toLater;
	sum.toCoalition += other.toCoalition;
	sum.toPresent += other.toPresent;
	sum.cannot += other.cannot;
}
