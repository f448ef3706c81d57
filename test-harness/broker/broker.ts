/** An MQTT broker of the harness. It may die and come back under the same address. */
export interface Broker {
	readonly name: string;
	readonly host: string;
	readonly port: number;
	/** For the concentrator; with user name and password when the user gave them. */
	readonly url: string;
	/** MQTT versions it speaks: 4 is 3.1.1. */
	readonly versions: readonly (4 | 5)[];
	readonly username?: string;
	readonly password?: string;
	/** False for a broker that is not ours. */
	readonly mayBeKilled: boolean;
	readonly isRunning: boolean;
	start(): Promise<void>;
	/** As by kill -9: connections break, what was in memory is gone. */
	kill(): Promise<void>;
	stop(): Promise<void>;
}
