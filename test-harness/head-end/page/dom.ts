/// <reference lib="dom" />
/// <reference lib="dom.iterable" />

export type Child = Node | string | null | undefined | false;

/** Makes an element. Text is always text: nothing that a meter sent is ever read as markup. */
export function h<Name extends keyof HTMLElementTagNameMap>(
	name: Name,
	attributes: Record<string, string | number | boolean | null | undefined | ((event: Event) => void)> = {},
	...children: Child[]
): HTMLElementTagNameMap[Name] {
	const element = document.createElement(name);
	for (const [key, value] of Object.entries(attributes)) {
		if (value === null || value === undefined || value === false) continue;
		if (typeof value === "function") element.addEventListener(key, value);
		else element.setAttribute(key, value === true ? "" : String(value));
	}
	for (const child of children) if (child) element.append(child);
	return element;
}

/** Writes text only where it differs, so that a live page does not lay out what stays. */
export function setText(element: Element, text: string): void {
	if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element: Element, name: string, value: string): void {
	if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** A titled part of a view. */
export function panel(
	title: string,
	attributes: { class?: string; id?: string; note?: string },
	...children: Child[]
): { root: HTMLElement; tools: HTMLElement; note: HTMLElement } {
	const tools = h("div", { class: "tools" });
	const note = h("span", { class: "note" }, attributes.note);
	const id = attributes.id ?? title.toLowerCase().replace(/[^a-z]+/g, "-");
	const root = h(
		"section",
		{ class: `panel ${attributes.class ?? ""}`, id, "aria-labelledby": `${id}-title` },
		h("header", {}, h("h2", { id: `${id}-title` }, title), note, tools),
		...children,
	);
	return { root, tools, note };
}
