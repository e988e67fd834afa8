// What sequences do with the memory of objects: ZERO clears it, ALL_ZERO compares it with zero.
// Both take 64 bytes at a time from 64 on, and 16 at a time below; what is left over ends with the
// object and overlaps what was before.

// ZERO clears n bytes at R14, a multiple of 8 and not 0. It uses R11, R14 and n, a register.
#define ZERO(n) \
	CMP  $64, n; BHS large; CMP $16, n; BLO word; \
	SUB  $16, n, R11; ADD R14, R11, R11; \
pair: STP (ZR, ZR), (R14); ADD $16, R14, R14; CMP R11, R14; BLO pair; \
	STP (ZR, ZR), (R11); JMP cleared; \
word: MOVD ZR, (R14); JMP cleared; \
large: SUB $64, n, R11; ADD R14, R11, R11; \
line: STP (ZR, ZR), (R14); STP (ZR, ZR), 16(R14); STP (ZR, ZR), 32(R14); STP (ZR, ZR), 48(R14); \
	ADD  $64, R14, R14; CMP R11, R14; BLO line; \
	STP  (ZR, ZR), (R11); STP (ZR, ZR), 16(R11); STP (ZR, ZR), 32(R11); STP (ZR, ZR), 48(R11); \
cleared:

#define OR16(off, base) LDP off(base), (R4, R5); ORR R4, R3, R3; ORR R5, R3, R3
#define OR64(base) OR16(0, base); OR16(16, base); OR16(32, base); OR16(48, base)

// ALL_ZERO goes to slow unless the R7 bytes at R0 are zero; R7 is a multiple of 8 and not 0. It
// uses R3, R4, R5, R6 and R11.
#define ALL_ZERO \
	MOVD R0, R6; MOVD ZR, R3; CMP $64, R7; BHS large; CMP $16, R7; BLO word; \
	SUB  $16, R7, R11; ADD R0, R11, R11; \
pair: OR16(0, R6); ADD $16, R6, R6; CMP R11, R6; BLO pair; \
	OR16(0, R11); JMP all; \
word: MOVD (R0), R3; JMP all; \
large: SUB $64, R7, R11; ADD R0, R11, R11; \
line: OR64(R6); ADD $64, R6, R6; CMP R11, R6; BLO line; \
	OR64(R11); \
all: CBNZ R3, slow; \
zero:
