import { extendedBytes, extendedText } from "./mac-frame.js";
import type { Binding, ZigbeeNode } from "./node.js";

/** Requests of the Zigbee device profile; an answer has bit 15 set. */
export const ZdoCluster = Object.freeze({
	nwkAddress: 0x0000,
	ieeeAddress: 0x0001,
	nodeDescriptor: 0x0002,
	powerDescriptor: 0x0003,
	simpleDescriptor: 0x0004,
	activeEndpoints: 0x0005,
	matchDescriptor: 0x0006,
	deviceAnnounce: 0x0013,
	bind: 0x0021,
	unbind: 0x0022,
	managementLqi: 0x0031,
	managementRouting: 0x0032,
	managementBind: 0x0033,
	managementLeave: 0x0034,
	managementPermitJoin: 0x0036,
} as const);

const ZdoStatus = Object.freeze({
	success: 0,
	deviceNotFound: 0x81,
	invalidEndpoint: 0x82,
	notActive: 0x83,
	notSupported: 0x84,
	noMatch: 0x86,
	noEntry: 0x88,
	tableFull: 0x8c,
} as const);

export interface ZdoAnswer {
	/** Without the sequence number; absent: no answer is due. */
	readonly payload?: Uint8Array;
	/** What to do when the answer is on its way. */
	readonly afterwards?: () => void;
}

function u16(value: number): number[] {
	return [value & 0xff, value >> 8];
}

/** The 13 bytes of a node descriptor. @see Zigbee specification 2.3.2.3 */
export function nodeDescriptor(node: ZigbeeNode): number[] {
	const serverMask = (node.logicalType === 0 ? 0x0041 : 0) | (22 << 9);
	return [
		node.logicalType,
		0x40, // 2.4 GHz
		node.capability,
		...u16(node.manufacturerCode),
		82,
		...u16(1_280),
		...u16(serverMask),
		...u16(1_280),
		0,
	];
}

/** What a node answers by itself to a request of the device profile. */
export function answerZdo(
	node: ZigbeeNode,
	cluster: number,
	payload: Uint8Array,
	wasBroadcast: boolean,
): ZdoAnswer | undefined {
	const word = (at: number): number => (payload[at] ?? 0) | ((payload[at + 1] ?? 0) << 8);
	const own = node.shortAddress;
	/** Short address of interest at the start of the request. */
	const isUs = payload.length >= 2 && word(0) === own;
	const notFound = (): ZdoAnswer | undefined =>
		wasBroadcast ? undefined : { payload: Uint8Array.of(ZdoStatus.deviceNotFound, ...u16(word(0))) };
	switch (cluster) {
		case ZdoCluster.nwkAddress:
		case ZdoCluster.ieeeAddress: {
			const isByExtended = cluster === ZdoCluster.nwkAddress;
			const isMatch = isByExtended ? payload.length >= 8 && extendedText(payload) === node.extendedAddress : isUs;
			if (!isMatch) return wasBroadcast || isByExtended ? undefined : notFound();
			return { payload: Uint8Array.of(0, ...extendedBytes(node.extendedAddress), ...u16(own)) };
		}
		case ZdoCluster.nodeDescriptor:
			return isUs ? { payload: Uint8Array.of(0, ...u16(own), ...nodeDescriptor(node)) } : notFound();
		case ZdoCluster.powerDescriptor:
			return isUs ? { payload: Uint8Array.of(0, ...u16(own), 0x10, 0xc1) } : notFound();
		case ZdoCluster.activeEndpoints: {
			if (!isUs) return notFound();
			const endpoints = [...node.endpoints.keys()];
			return { payload: Uint8Array.of(0, ...u16(own), endpoints.length, ...endpoints) };
		}
		case ZdoCluster.simpleDescriptor: {
			if (!isUs) return notFound();
			const found = node.endpoints.get(payload[2] ?? 0);
			if (!found) return { payload: Uint8Array.of(ZdoStatus.notActive, ...u16(own), 0) };
			const descriptor = [
				found.endpoint,
				...u16(found.profile),
				...u16(found.device),
				found.version,
				found.inputClusters.length,
				...found.inputClusters.flatMap(u16),
				found.outputClusters.length,
				...found.outputClusters.flatMap(u16),
			];
			return { payload: Uint8Array.of(0, ...u16(own), descriptor.length, ...descriptor) };
		}
		case ZdoCluster.matchDescriptor: {
			if (!isUs && word(0) < 0xfff8) return notFound();
			const profile = word(2);
			const inputs = Array.from({ length: payload[4] ?? 0 }, (_, i) => word(5 + 2 * i));
			const at = 5 + 2 * inputs.length;
			const outputs = Array.from({ length: payload[at] ?? 0 }, (_, i) => word(at + 1 + 2 * i));
			const found = [...node.endpoints.values()]
				.filter((one) => one.profile === profile)
				.filter(
					(one) =>
						inputs.some((id) => one.inputClusters.includes(id)) ||
						outputs.some((id) => one.outputClusters.includes(id)),
				)
				.map((one) => one.endpoint);
			if (found.length === 0 && wasBroadcast) return undefined;
			const status = found.length > 0 ? 0 : ZdoStatus.noMatch;
			return { payload: Uint8Array.of(status, ...u16(own), found.length, ...found) };
		}
		case ZdoCluster.bind:
		case ZdoCluster.unbind: {
			const binding = decodeBinding(payload);
			if (!binding || binding.source !== node.extendedAddress)
				return { payload: Uint8Array.of(ZdoStatus.notSupported) };
			if (!node.endpoints.has(binding.entry.sourceEndpoint))
				return { payload: Uint8Array.of(ZdoStatus.invalidEndpoint) };
			if (cluster === ZdoCluster.bind)
				return { payload: Uint8Array.of(node.bind(binding.entry) ? 0 : ZdoStatus.tableFull) };
			return { payload: Uint8Array.of(node.unbind(binding.entry) ? 0 : ZdoStatus.noEntry) };
		}
		case ZdoCluster.managementBind: {
			const start = payload[0] ?? 0;
			const part = node.bindings.slice(start, start + 3);
			const entries = part.flatMap((entry) => [
				...extendedBytes(node.extendedAddress),
				entry.sourceEndpoint,
				...u16(entry.cluster),
				...(typeof entry.target === "string"
					? [3, ...extendedBytes(entry.target), entry.targetEndpoint]
					: [1, ...u16(entry.target)]),
			]);
			return { payload: Uint8Array.of(0, node.bindings.length, start, part.length, ...entries) };
		}
		case ZdoCluster.managementLqi: {
			const start = payload[0] ?? 0;
			const all = [...node.children];
			const part = all.slice(start, start + 3);
			const entries = part.flatMap(([address, child]) => [
				...extendedBytes(node.extendedPanId),
				...extendedBytes(child.extendedAddress),
				...u16(address),
				(child.isRouter ? 1 : 2) | ((child.isReceiverOnWhenIdle ? 1 : 0) << 2) | (1 << 4),
				2,
				1,
				180,
			]);
			return { payload: Uint8Array.of(0, all.length, start, part.length, ...entries) };
		}
		case ZdoCluster.managementRouting:
			return { payload: Uint8Array.of(0, 0, payload[0] ?? 0, 0) };
		case ZdoCluster.managementLeave: {
			const isRejoin = ((payload[8] ?? 0) & 0x80) !== 0;
			return { payload: Uint8Array.of(0), afterwards: () => node.leave(isRejoin) };
		}
		case ZdoCluster.managementPermitJoin:
			node.permitJoin(payload[0] ?? 0);
			return wasBroadcast ? {} : { payload: Uint8Array.of(0) };
		default:
			return wasBroadcast ? undefined : { payload: Uint8Array.of(ZdoStatus.notSupported) };
	}
}

/** A bind request: source, its endpoint, the cluster, and an EUI-64 with endpoint or a group. */
function decodeBinding(payload: Uint8Array): { source: string; entry: Binding } | undefined {
	if (payload.length < 14) return undefined;
	const entry = { sourceEndpoint: payload[8]!, cluster: payload[9]! | (payload[10]! << 8) };
	const source = extendedText(payload);
	if (payload[11] === 1)
		return { source, entry: { ...entry, target: payload[12]! | (payload[13]! << 8), targetEndpoint: 0 } };
	if (payload[11] !== 3 || payload.length < 21) return undefined;
	return { source, entry: { ...entry, target: extendedText(payload, 12), targetEndpoint: payload[20]! } };
}
