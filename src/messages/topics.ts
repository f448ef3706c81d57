/** MQTT topics. A meter's identifier is its 8-byte EUI as 16 lower-case hexadecimal digits. */
export const TOPIC_ROOT = "wattlock/v1";

/** Messages of the meter, QoS 1, one sealed message a packet. */
export function upTopic(identifier: string): string {
	return `${TOPIC_ROOT}/${identifier}/up`;
}

/** Messages to the meter, QoS 1. */
export function downTopic(identifier: string): string {
	return `${TOPIC_ROOT}/${identifier}/down`;
}

/** "1" while connected, "0" by the will; retained. */
export function onlineTopic(identifier: string): string {
	return `${TOPIC_ROOT}/${identifier}/online`;
}

/** The domain as four hexadecimal digits. */
function domainText(domain: number): string {
	return (0x1_0000 + domain).toString(16).slice(1);
}

/** To all meters of a domain: beacons, broadcasts, flash commands. */
export function allTopic(domain: number): string {
	return `${TOPIC_ROOT}/domain/${domainText(domain)}/all`;
}

/** To all meters of a domain, retained: the anchor of the day. */
export function anchorTopic(domain: number): string {
	return `${TOPIC_ROOT}/domain/${domainText(domain)}/anchor`;
}

/** JSON state for Home Assistant, where it is switched on. */
export function stateTopic(identifier: string): string {
	return `${TOPIC_ROOT}/${identifier}/state`;
}
