/** A range of whole sectors. */
export interface SectorRange {
	readonly firstSector: number;
	readonly sectorCount: number;
}

/** The plan below is for sectors of this size. */
export const SECTOR_BYTES = 4096;
/** Sectors of the whole storage partition: 1.5 MiB. */
export const STORAGE_SECTORS = 384;

/**
 * Storage partition, plan 2: 384 sectors of 4 KiB. Plan 1 had 256 and ended behind the keys with areas not in use.
 * | area        | sectors | bytes   | holds                                                                            |
 * |-------------|--------:|--------:|----------------------------------------------------------------------------------|
 * | settings    |   0-3   |  16 KiB | one blob of at most 1 024 B, two copies; replaced in a sector of its own         |
 * | registers   |   4-67  | 256 KiB | at least 441 commits of at most 512 B: the newest and a history of 7 h           |
 * | loadProfile |  68-163 | 384 KiB | at least 5 985 rows: 62 days of 15 minutes                                       |
 * | events      | 164-179 |  64 KiB | at least 945 events                                                              |
 * | keys        | 180-187 |  32 KiB | the key journal: one record of all secrets, encrypted                            |
 * | update      | 188-191 |  16 KiB | which firmware runs, and which is on its way: at least 381 changes               |
 * | firmwareA   | 192-287 | 384 KiB | a firmware image, whole or on its way                                            |
 * | firmwareB   | 288-383 | 384 KiB | another: the one that runs is never written                                      |
 */
export const SETTINGS_SECTORS: SectorRange = Object.freeze({ firstSector: 0, sectorCount: 4 });
export const REGISTER_SECTORS: SectorRange = Object.freeze({ firstSector: 4, sectorCount: 64 });
export const PROFILE_SECTORS: SectorRange = Object.freeze({ firstSector: 68, sectorCount: 96 });
export const EVENT_SECTORS: SectorRange = Object.freeze({ firstSector: 164, sectorCount: 16 });
export const KEY_SECTORS: SectorRange = Object.freeze({ firstSector: 180, sectorCount: 8 });
export const UPDATE_SECTORS: SectorRange = Object.freeze({ firstSector: 188, sectorCount: 4 });
export const FIRMWARE_A_SECTORS: SectorRange = Object.freeze({ firstSector: 192, sectorCount: 96 });
export const FIRMWARE_B_SECTORS: SectorRange = Object.freeze({ firstSector: 288, sectorCount: 96 });

/** What a log writes into its sectors to know them as its own: four letters, big-endian. */
export const SETTINGS_KIND = 0x5365_7474; // "Sett"
export const REGISTER_KIND = 0x5265_6769; // "Regi"
export const PROFILE_KIND = 0x5072_6f66; // "Prof"
export const EVENT_KIND = 0x4576_656e; // "Even"
export const UPDATE_KIND = 0x5570_6474; // "Updt"
