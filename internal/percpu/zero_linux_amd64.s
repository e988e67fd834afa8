#include "go_asm.h"
#include "textflag.h"
#include "rseq_linux_amd64.h"
#include "memory_linux_amd64.h"

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
// clear again: from the commit on the object may belong to another goroutine.
TEXT ·freeZero(SB), NOSPLIT|NOFRAME, $0-0
	OWNER_OF
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

// freeZeroByOwner is the code of a FreeByOwner after FillZero. BX is the address of the stacks.
TEXT ·freeZeroByOwner(SB), NOSPLIT|NOFRAME, $0-0
	CHOOSE_BY_OWNER(FreeByOwner_ownPages(DX))
	MOVQ DI, BX
	MOVL CX, R10
	MOVQ AX, DI
	MOVQ served_clear(SI), SI
	ZERO(SI)
	MOVL R10, CX
	SEQUENCE(·freeZeroByOwnerCS)
	PUSH_BODY(BX)
	COMMITTED_RET
slow:
	SLOW_PATH(FreeByOwner_slow)
	RESTART
