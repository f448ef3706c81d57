/// <reference lib="dom" />
import { h, setAttribute, setText } from "./dom.js";
import { showFleet } from "./fleet.js";
import * as format from "./format.js";
import { Live } from "./live.js";
import { showMeter } from "./meter.js";

const main = document.getElementById("content")!;
const live = new Live();

function chip(): { root: HTMLElement; set(kind: string, text: string, title: string): void } {
	const text = h("span", {});
	const root = h("span", { class: "chip" }, h("span", { class: "dot" }), text);
	return {
		root,
		set(kind, content, title) {
			setAttribute(root.firstElementChild!, "class", `dot ${kind}`);
			setText(text, content);
			setAttribute(root, "title", title);
		},
	};
}

const chips = { page: chip(), broker: chip(), store: chip() };
const clock = h("time", { class: "clock", title: "time of the head end" });
document.getElementById("chips")!.append(chips.page.root, chips.broker.root, chips.store.root, clock);

function showChips(): void {
	const { status } = live;
	chips.page.set(
		live.connected ? "good" : "bad",
		live.connected ? "live" : "not connected",
		live.connected ? "changes arrive as they happen" : "the head end does not answer, trying again",
	);
	if (status) {
		const { broker, store } = status;
		chips.broker.set(
			broker.connected ? "good" : "bad",
			"broker",
			broker.connected ? `connected to ${broker.url}` : `${broker.url}: ${broker.lastError ?? "not connected"}`,
		);
		chips.store.set(store.working ? "good" : "bad", "store", store.error ?? `working, ${store.path}`);
	}
	setAttribute(document.body, "class", live.connected ? "" : "stale");
}

live.listen({ status: showChips, connection: showChips });
showChips();
setInterval(() => {
	const now = live.now();
	setText(clock, Number.isNaN(now) ? "" : `${format.day(now)} ${format.clock(now)}`);
}, 250);

let leave: () => void = () => {};
function route(): void {
	leave();
	const match = /^#\/meter\/([0-9a-f]{16})$/.exec(location.hash);
	leave = match ? showMeter(main, live, match[1]!) : showFleet(main, live);
	scrollTo(0, 0);
}
addEventListener("hashchange", () => {
	if (!location.hash.startsWith("#/") && location.hash !== "") return; // the skip link
	route();
	main.focus({ preventScroll: true });
});
route();
live.start();
