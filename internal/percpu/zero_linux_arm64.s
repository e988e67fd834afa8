#include "go_asm.h"
#include "textflag.h"
#include "rseq_linux_arm64.h"
#include "memory_linux_arm64.h"

// popZero is the code of a PopZero. It clears behind the commit.
TEXT ·popZero(SB), NOSPLIT|NOFRAME, $0-0
	NO_ERROR
	SEQUENCE(·popZeroCS)
	POP_BODY((PopZero_Pop+Pop_slots)(R26))
	COMMITTED
	MOVD (PopZero_zero+zeroRange_off)(R26), R14
	ADD  R0, R14, R14
	MOVD (PopZero_zero+zeroRange_n)(R26), R7
	ZERO(R7)
	RET
slow:
	SLOW_PATH(PopZero_Pop+Pop_slow)
	RESTART

// freeZero is the code of a FreeZero. It clears in front of the sequence, so that a restart doesn't
// clear again: from the commit on the object may belong to another goroutine.
TEXT ·freeZero(SB), NOSPLIT|NOFRAME, $0-0
	OWNER_WORD
	AND   $const_withoutNode, R15, R12
	MOVWU FreeZero_own(R26), R11
	CMPW  R11, R12
	BNE   slow
	MOVD  R0, R14
	MOVD  (FreeZero_zero+zeroRange_n)(R26), R7
	ZERO(R7)
	SEQUENCE(·freeZeroCS)
	PUSH_BODY(FILTER(Filter_slots))
	COMMITTED_RET
slow:
	SLOW_PATH(Free_slow)
	RESTART

// freeZeroByOwner is the code of a FreeByOwner after FillZero. R21 is the address of the stacks.
// The acquire is as in popMarkedBySize.
TEXT ·freeZeroByOwner(SB), NOSPLIT|NOFRAME, $0-0
	LDAR (R26), R11
	MOVD FreeByOwner_ownPages(R26), R13
	CHOOSE_BY_OWNER
	MOVD R14, R21
	MOVD R0, R14
	MOVD served_clear(R19), R7
	ZERO(R7)
	SEQUENCE(·freeZeroByOwnerCS)
	PUSH_BODY(R21)
	COMMITTED_RET
slow:
	SLOW_PATH(FreeByOwner_slow)
	RESTART
