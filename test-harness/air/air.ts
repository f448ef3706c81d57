import { Random } from "../waveforms/random.js";
import { VirtualClock } from "./clock.js";
import { Medium, type RadioLink } from "./medium.js";
import { LogicalType, type NodeListener, type Surroundings, ZigbeeNode } from "./node.js";
import { PcapWriter } from "./pcap.js";

/** A piece of virtual world: one clock, one seed, one medium and the Zigbee stacks in it. */
export class Air implements Surroundings {
	readonly clock = new VirtualClock();
	readonly random: Random;
	readonly medium: Medium;
	readonly nodes: ZigbeeNode[] = [];
	readonly seed: number;
	#capture: PcapWriter | undefined;

	constructor(seed: number) {
		this.seed = seed;
		this.random = new Random(seed, "air");
		this.medium = new Medium(this.clock, new Random(seed, "medium"));
	}

	/** Every frame from now on, as a capture that Wireshark opens. */
	capture(): PcapWriter {
		if (!this.#capture) {
			const writer = new PcapWriter();
			this.#capture = writer;
			this.medium.tap = (now, frame) => writer.add(now, frame);
		}
		return this.#capture;
	}

	addNode(extendedAddress: string, listener: NodeListener): ZigbeeNode {
		const node = new ZigbeeNode(this, extendedAddress, listener);
		this.nodes.push(node);
		return node;
	}

	link(a: ZigbeeNode, b: ZigbeeNode, link: Partial<RadioLink> | undefined): void {
		this.medium.link(a.mac.radio, b.mac.radio, link);
	}

	/** A line of nodes, each hearing its neighbours only. */
	chain(nodes: readonly ZigbeeNode[], link: Partial<RadioLink> = {}): void {
		for (const a of nodes) for (const b of nodes) if (a !== b) this.link(a, b, undefined);
		for (let i = 1; i < nodes.length; i++) this.link(nodes[i - 1]!, nodes[i]!, link);
	}

	/** Dijkstra over the links of the medium; a lossy hop costs more. End devices are reached through their parent. */
	nextHop(from: ZigbeeNode, target: number): number | undefined {
		const members = this.nodes.filter((node) => node.isJoined && node.panId === from.panId && node.mac.isPoweredOn);
		const cost = new Map<ZigbeeNode, number>([[from, 0]]);
		const first = new Map<ZigbeeNode, number>();
		const open = new Set<ZigbeeNode>([from]);
		while (open.size > 0) {
			let node: ZigbeeNode | undefined;
			for (const candidate of open) if (!node || cost.get(candidate)! < cost.get(node)!) node = candidate;
			open.delete(node!);
			if (node!.shortAddress === target && node !== from) return first.get(node!);
			if (!node!.isRouting) continue;
			for (const next of members) {
				if (next === node || next === from) continue;
				if (next.logicalType === LogicalType.endDevice && next.parent !== node!.shortAddress) continue;
				const link = this.medium.linkOf(node!.mac.radio, next.mac.radio);
				if (!link || node!.channel !== next.channel) continue;
				const total = cost.get(node!)! + 1 + link.lossPerMille / 200;
				if (total >= (cost.get(next) ?? Number.POSITIVE_INFINITY)) continue;
				cost.set(next, total);
				first.set(next, node === from ? next.shortAddress : first.get(node!)!);
				open.add(next);
			}
		}
		return undefined;
	}

	routingNeighbours(of: ZigbeeNode): number[] {
		return this.nodes
			.filter((node) => node !== of && node.isRouting && node.panId === of.panId && node.mac.isPoweredOn)
			.filter((node) => node.channel === of.channel && this.medium.linkOf(of.mac.radio, node.mac.radio))
			.map((node) => node.shortAddress);
	}

	freeAddress(panId: number): number {
		for (;;) {
			const address = this.random.integer(1, 0xfff7);
			if (!this.nodes.some((node) => node.panId === panId && node.shortAddress === address)) return address;
		}
	}
}
