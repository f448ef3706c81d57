// Reporter for node:test that writes one JSON line for each skipped test: { name, file, reason }.
export default async function* skippedReporter(source) {
	for await (const event of source) {
		if ((event.type === "test:pass" || event.type === "test:fail") && event.data.skip !== undefined)
			yield `${JSON.stringify({ name: event.data.name, file: event.data.file, reason: event.data.skip === true ? "no reason given" : event.data.skip })}\n`;
	}
}
