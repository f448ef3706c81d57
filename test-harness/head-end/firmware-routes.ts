import type { FastifyInstance, FastifyRequest } from "fastify";
import { UserError } from "../user-error.js";
import type { HeadEnd } from "./head-end.js";
import { IMAGE_FILE_BYTES_MAX, type Updates } from "./updates.js";

class RouteError extends Error {
	readonly statusCode: number;

	constructor(statusCode: number, message: string) {
		super(message);
		this.statusCode = statusCode;
	}
}

/** What the user can mend is answered with 400 and one line. */
function asked<T>(action: () => T): T {
	try {
		return action();
	} catch (error) {
		if (error instanceof UserError) throw new RouteError(400, error.message);
		throw error;
	}
}

/**
 * Firmware over HTTP:
 * - `GET  /api/firmware`: images, and the update of every meter that has one
 * - `POST /api/firmware`: an image file, application/octet-stream; answers what it is
 * - `GET  /api/meters/<id>/firmware`: how far its update is
 * - `POST /api/meters/<id>/firmware`: `{"image": "<8 hex digits>", "activate": true}`
 * - `DELETE /api/meters/<id>/firmware`: ends it
 * @param mayAct throws where nobody may act
 */
export function addFirmwareRoutes(server: FastifyInstance, headEnd: HeadEnd, mayAct: () => void): void {
	const updates = (): Updates => {
		if (!headEnd.updates) throw new RouteError(409, "messages are not secured here: no firmware is sent in clear");
		return headEnd.updates;
	};
	const idOf = (request: FastifyRequest): string => {
		const { id } = request.params as { id: string };
		if (!headEnd.has(id)) throw new RouteError(404, "no such meter");
		return id;
	};
	server.addContentTypeParser("application/octet-stream", { parseAs: "buffer" }, (_request, body, done) =>
		done(null, body),
	);
	server.get("/api/firmware", () => ({ images: updates().images(), updates: updates().views() }));
	server.post("/api/firmware", { bodyLimit: IMAGE_FILE_BYTES_MAX }, (request) => {
		mayAct();
		const { body } = request;
		if (!Buffer.isBuffer(body)) throw new RouteError(400, "an image file is sent as application/octet-stream");
		return asked(() => updates().addImage(body));
	});
	server.get("/api/meters/:id/firmware", (request) => {
		const view = updates().view(idOf(request));
		if (!view) throw new RouteError(404, "no firmware was ordered for this meter");
		return view;
	});
	server.post("/api/meters/:id/firmware", (request, reply) => {
		mayAct();
		const { image, activate = true } = (request.body ?? {}) as { image?: unknown; activate?: unknown };
		if (typeof image !== "string" || !/^[0-9a-f]{8}$/.test(image) || typeof activate !== "boolean")
			throw new RouteError(400, 'an order is {"image": "8 hexadecimal digits", "activate": true or false}');
		reply.code(202);
		return asked(() => updates().order(idOf(request), image, activate));
	});
	server.delete("/api/meters/:id/firmware", (request) => {
		mayAct();
		return asked(() => updates().cancel(idOf(request)));
	});
}
