import { UserError } from "../user-error.js";
import { AedesBroker } from "./aedes-broker.js";
import type { Broker } from "./broker.js";
import { canConnect, MosquittoBroker } from "./mosquitto-broker.js";

/** A broker that somebody else runs: it is only looked for, never started or stopped. */
class ForeignBroker implements Broker {
	readonly name: string;
	readonly host: string;
	readonly port: number;
	readonly url: string;
	readonly versions = [4, 5] as const;
	readonly username?: string;
	readonly password?: string;
	readonly mayBeKilled = false;
	readonly isRunning = true;

	constructor(url: URL) {
		this.name = `mqtt://${url.host}`;
		this.url = url.href;
		this.host = url.hostname.replace(/^\[|\]$/g, "");
		this.port = url.port === "" ? 1883 : Number(url.port);
		if (url.username !== "") this.username = decodeURIComponent(url.username);
		if (url.password !== "") this.password = decodeURIComponent(url.password);
	}

	async start(): Promise<void> {
		if (!(await canConnect(this.host, this.port))) throw new UserError(`no broker answers at ${this.name}`);
	}

	async kill(): Promise<void> {
		throw new UserError("a broker that is not ours cannot be killed");
	}

	async stop(): Promise<void> {}
}

/** @param which "aedes", "mosquitto" or mqtt://host:port */
export function openBroker(which: string): Broker {
	if (which === "aedes") return new AedesBroker();
	if (which === "mosquitto") return new MosquittoBroker();
	let url: URL | undefined;
	try {
		url = new URL(which);
	} catch {
		// answered below
	}
	if (url === undefined || url.protocol !== "mqtt:" || url.hostname === "")
		throw new UserError(`--broker ${which}: allowed are aedes, mosquitto, mqtt://host:port`);
	return new ForeignBroker(url);
}
