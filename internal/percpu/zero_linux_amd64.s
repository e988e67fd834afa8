#include "go_asm.h"
#include "textflag.h"
#include "rseq_linux_amd64.h"

// ZERO clears n bytes at DI, a multiple of 8 and not 0. It uses DI and R11. n is a register, which
// it keeps up to 2 KiB and then leaves 0. AX is kept in R12 for the string instruction.
#define ZERO(n) \
	XORPS X15, X15; LEAQ (DI)(n*1), R11; CMPQ n, $64; JA large; CMPQ n, $16; JBE small; \
	MOVUPS X15, (DI); MOVUPS X15, -16(R11); CMPQ n, $32; JBE cleared; \
	MOVUPS X15, 16(DI); MOVUPS X15, -32(R11); JMP cleared; \
small: MOVQ $0, (DI); MOVQ $0, -8(R11); JMP cleared; \
large: CMPQ n, $2048; JAE string; SUBQ $64, R11; \
	CMPB ·hasAVX(SB), $0; JEQ line; VXORPS Y0, Y0, Y0; \
wide: VMOVUPS Y0, (DI); VMOVUPS Y0, 32(DI); ADDQ $64, DI; CMPQ DI, R11; JB wide; \
	VMOVUPS Y0, (R11); VMOVUPS Y0, 32(R11); VZEROUPPER; JMP cleared; \
line: MOVUPS X15, (DI); MOVUPS X15, 16(DI); MOVUPS X15, 32(DI); MOVUPS X15, 48(DI); \
	ADDQ $64, DI; CMPQ DI, R11; JB line; MOVUPS X15, (R11); MOVUPS X15, 16(R11); \
	MOVUPS X15, 32(R11); MOVUPS X15, 48(R11); JMP cleared; \
string: MOVQ AX, R12; MOVQ n, CX; SHRQ $3, CX; XORL AX, AX; REP; STOSQ; MOVQ R12, AX; \
cleared:

// popZero is the code of a PopZero. It clears behind the commit.
TEXT ·popZero(SB), NOSPLIT|NOFRAME, $0-0
	SEQUENCE(·popZeroCS)
	POP_BODY((PopZero_Pop+Pop_slots)(DX))
	COMMITTED
	MOVQ (PopZero_zero+zeroRange_off)(DX), DI
	ADDQ AX, DI
	MOVQ (PopZero_zero+zeroRange_n)(DX), CX
	ZERO(CX)
	XORL CX, CX
	RET
slow:
	SLOW_PATH((PopZero_Pop+Pop_slow))
	RESTART

// freeZero is the code of a FreeZero. It clears in front of the sequence, so that a restart doesn't
// clear again: from the commit on the object may belong to another goroutine. DI is the owner word
// without the node, later the address to clear; SI is the number of bytes.
TEXT ·freeZero(SB), NOSPLIT|NOFRAME, $0-0
	PAGE(FILTER(Filter_base), FILTER(Filter_pages))
	STARTS(FILTER(Filter_mask), FILTER(Filter_magic), FILTER(Filter_limit))
	MOVQ FILTER(Filter_owners), R11
	MOVL (R11)(R10*OWNER), R10
	MOVL R10, DI
	ANDL $const_withoutNode, DI
	CMPL DI, FreeZero_own(DX)
	JNE  slow
	MOVQ AX, DI
	MOVQ (FreeZero_zero+zeroRange_n)(DX), SI
	ZERO(SI)
	MOVL R10, CX
	SEQUENCE(·freeZeroCS)
	PUSH_BODY(FILTER(Filter_slots))
	COMMITTED_RET
slow:
	SLOW_PATH(Free_slow)
	RESTART
