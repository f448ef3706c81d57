/** A function of the host's C files: `native("cName")` is bound when the image is linked; the name is a literal. */
declare function native<F>(name: string): F;
/** A class whose instances are host objects; `cDestructor` frees what C keeps for one. */
declare function Native(cDestructor: string): new () => object;
/** Writes to standard output. Not for a program that speaks the board channel there. */
declare function trace(text: string): void;
