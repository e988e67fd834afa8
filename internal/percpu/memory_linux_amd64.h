// What sequences do with the memory of objects: ZERO clears it, ALL_ZERO compares it with zero.
//
// The sizes of objects come in no order that a processor could predict, and a branch that goes the
// other way costs as much as clearing 500 bytes. So both have few ways: 8 bytes, up to 64, up to
// 256, up to 1024, and more. Each way but the last always makes the same number of accesses. Those
// that would begin behind the last one, which ends with the object, are made there instead.

// LEAST makes reg the smaller one of off bytes behind base, and last.
#define LEAST(off, base, last, reg) LEAQ off(base), reg; CMPQ reg, last; CMOVQHI last, reg

#define CLEAR16(off) LEAST(off, DI, R11, R12); MOVUPS X15, (R12)
#define CLEAR32(off) LEAST(off, DI, R11, R12); VMOVUPS Y0, (R12)
#define CLEAR64(off) LEAST(off, DI, R11, R12); VMOVUPS Y0, (R12); VMOVUPS Y0, 32(R12)
#define CLEARZ(off) LEAST(off, DI, R11, R12); VMOVUPS Z16, (R12)
#define CLEARZ256(base) \
	VMOVUPS Z16, (base); VMOVUPS Z16, 64(base); VMOVUPS Z16, 128(base); VMOVUPS Z16, 192(base)
#define CLEAR256(base) \
	VMOVUPS Y0, (base); VMOVUPS Y0, 32(base); VMOVUPS Y0, 64(base); VMOVUPS Y0, 96(base); \
	VMOVUPS Y0, 128(base); VMOVUPS Y0, 160(base); VMOVUPS Y0, 192(base); VMOVUPS Y0, 224(base)

// ZERO clears n bytes at DI, a multiple of 8 and not 0. It uses DI, R11 and R12. n is a register,
// which the string instruction leaves 0; AX is kept in R12 for it. Of the registers of 64 bytes
// those from Z16 on have no parts that VZEROUPPER would have to clear.
#define ZERO(n) \
	XORPS X15, X15; CMPQ n, $64; JA large; CMPQ n, $16; JB word; LEAQ -16(DI)(n*1), R11; \
	MOVUPS X15, (DI); CLEAR16(16); CLEAR16(32); MOVUPS X15, (R11); JMP cleared; \
word: MOVQ $0, (DI); JMP cleared; \
large: CMPB ·hasAVX512(SB), $0; JEQ narrow; \
	VPXORQ Z16, Z16, Z16; CMPQ n, $256; JA wide512; LEAQ -64(DI)(n*1), R11; \
	VMOVUPS Z16, (DI); CLEARZ(64); CLEARZ(128); VMOVUPS Z16, (R11); JMP cleared; \
wide512: LEAQ -256(DI)(n*1), R11; CMPQ n, $1024; JA more512; CLEARZ256(DI); CLEARZ256(R11); \
	ADDQ $192, R11; CLEARZ(256); CLEARZ(320); CLEARZ(384); CLEARZ(448); \
	CLEARZ(512); CLEARZ(576); CLEARZ(640); CLEARZ(704); JMP cleared; \
more512: CLEARZ256(DI); ADDQ $256, DI; CMPQ DI, R11; JB more512; CLEARZ256(R11); JMP cleared; \
narrow: CMPQ n, $2048; JAE string; CMPB ·hasAVX(SB), $0; JEQ lines; \
	VXORPS X0, X0, X0; CMPQ n, $256; JA wide; LEAQ -64(DI)(n*1), R11; \
	VMOVUPS Y0, (DI); VMOVUPS Y0, 32(DI); CLEAR32(64); CLEAR32(96); CLEAR32(128); CLEAR32(160); \
	VMOVUPS Y0, (R11); VMOVUPS Y0, 32(R11); JMP done; \
wide: LEAQ -256(DI)(n*1), R11; CLEAR256(DI); CLEAR256(R11); ADDQ $192, R11; \
	CLEAR64(256); CLEAR64(320); CLEAR64(384); CLEAR64(448); \
	CLEAR64(512); CLEAR64(576); CLEAR64(640); CLEAR64(704); CMPQ n, $1024; JBE done; \
	ADDQ $768, DI; \
more256: VMOVUPS Y0, (DI); VMOVUPS Y0, 32(DI); ADDQ $64, DI; CMPQ DI, R11; JB more256; \
done: VZEROUPPER; JMP cleared; \
lines: LEAQ -32(DI)(n*1), R11; \
line: MOVUPS X15, (DI); MOVUPS X15, 16(DI); ADDQ $32, DI; CMPQ DI, R11; JB line; \
	MOVUPS X15, (R11); MOVUPS X15, 16(R11); JMP cleared; \
string: MOVQ AX, R12; MOVQ n, CX; SHRQ $3, CX; XORL AX, AX; REP; STOSQ; MOVQ R12, AX; \
cleared:

#define OR16(off) LEAST(off, AX, R11, BX); MOVUPS (BX), X1; POR X1, X0
#define OR32(off, y) LEAST(off, AX, R11, BX); VORPS (BX), y, y
#define OR64(off) LEAST(off, AX, R11, BX); VORPS (BX), Y0, Y0; VORPS 32(BX), Y1, Y1
#define ORZ(off, z) LEAST(off, AX, R11, BX); VPORQ (BX), z, z
#define ORZ256(base) \
	VPORQ (base), Z16, Z16; VPORQ 64(base), Z17, Z17; VPORQ 128(base), Z16, Z16; \
	VPORQ 192(base), Z17, Z17
#define OR256(base) \
	VORPS (base), Y0, Y0; VORPS 32(base), Y1, Y1; VORPS 64(base), Y0, Y0; VORPS 96(base), Y1, Y1; \
	VORPS 128(base), Y0, Y0; VORPS 160(base), Y1, Y1; VORPS 192(base), Y0, Y0; VORPS 224(base), Y1, Y1

// ALL_ZERO goes to slow unless the n bytes at AX are zero; n is CX, a multiple of 8 and not 0. It
// uses BX, CX, R11 and X0 to X3.
#define ALL_ZERO \
	CMPQ CX, $64; JA large; CMPQ CX, $16; JB word; LEAQ -16(AX)(CX*1), R11; \
	MOVUPS (AX), X0; OR16(16); OR16(32); MOVUPS (R11), X1; JMP both; \
word: CMPQ (AX), $0; JNE slow; JMP zero; \
large: CMPB ·hasAVX512(SB), $0; JEQ narrow; LEAQ -64(AX)(CX*1), R11; \
	VMOVUPS (AX), Z16; VMOVUPS (R11), Z17; CMPQ CX, $256; JA wide512; \
	ORZ(64, Z16); ORZ(128, Z17); \
join512: VPORQ Z17, Z16, Z16; VPTESTMQ Z16, Z16, K1; KORTESTB K1, K1; JNZ slow; JMP zero; \
wide512: SUBQ $192, R11; ORZ256(AX); ORZ256(R11); CMPQ CX, $1024; JA more; ADDQ $192, R11; \
	ORZ(256, Z16); ORZ(320, Z17); ORZ(384, Z16); ORZ(448, Z17); \
	ORZ(512, Z16); ORZ(576, Z17); ORZ(640, Z16); ORZ(704, Z17); JMP join512; \
more: LEAQ 256(AX), BX; \
more512: ORZ256(BX); ADDQ $256, BX; CMPQ BX, R11; JB more512; JMP join512; \
narrow: CMPB ·hasAVX(SB), $0; JEQ lines; \
	VXORPS X0, X0, X0; VXORPS X1, X1, X1; CMPQ CX, $256; JA wide; LEAQ -64(AX)(CX*1), R11; \
	VORPS (AX), Y0, Y0; VORPS 32(AX), Y1, Y1; OR32(64, Y0); OR32(96, Y1); OR32(128, Y0); \
	OR32(160, Y1); VORPS (R11), Y0, Y0; VORPS 32(R11), Y1, Y1; \
join: VORPS Y1, Y0, Y0; VPTEST Y0, Y0; VZEROUPPER; JNZ slow; JMP zero; \
wide: LEAQ -256(AX)(CX*1), R11; OR256(AX); OR256(R11); ADDQ $192, R11; \
	OR64(256); OR64(320); OR64(384); OR64(448); OR64(512); OR64(576); OR64(640); OR64(704); \
	CMPQ CX, $1024; JBE join; LEAQ 768(AX), BX; \
more256: VORPS (BX), Y0, Y0; VORPS 32(BX), Y1, Y1; ADDQ $64, BX; CMPQ BX, R11; JB more256; JMP join; \
lines: MOVQ AX, BX; LEAQ -32(AX)(CX*1), R11; PXOR X0, X0; PXOR X1, X1; \
line: MOVUPS (BX), X2; POR X2, X0; MOVUPS 16(BX), X3; POR X3, X1; \
	ADDQ $32, BX; CMPQ BX, R11; JB line; \
	MOVUPS (R11), X2; POR X2, X0; MOVUPS 16(R11), X3; POR X3, X1; \
both: POR X1, X0; PCMPEQB X15, X0; PMOVMSKB X0, R11; CMPL R11, $0xffff; JNE slow; \
zero:
