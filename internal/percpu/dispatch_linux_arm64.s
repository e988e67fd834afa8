#include "go_asm.h"
#include "textflag.h"
#include "rseq_linux_arm64.h"

// popBySize is the code of a PopBySize, a func(n int) (unsafe.Pointer, error). R19 keeps n for the
// slow path. R14 is n-1, later the number of the step, then the address of the stacks. The acquire
// pairs with Fill, which stores max last.
TEXT ·popBySize(SB), NOSPLIT|NOFRAME, $0-0
	MOVD R0, R19
	SUB  $1, R0, R14
	ACQUIRE(PopBySize_max, R26, R11)
	CMP  R11, R14
	BHS  slow
	MOVD PopBySize_table(R26), R11
	NO_ERROR
	CMP  $const_MaxFine, R14
	BHS  coarse
	LSR  $const_fineShift, R14, R14
found:
	MOVD (R11)(R14<<3), R14
	SEQUENCE(·popBySizeCS)
	POP_BODY(R14)
	COMMITTED_RET
slow:
	MOVD R19, R0
	SLOW_PATH(PopBySize_slow)
coarse:
	LSR $const_coarseShift, R14, R14
	ADD $const_fineStacks, R14, R14
	JMP found
	RESTART

// freeByOwner is the code of a FreeByOwner, a func(p unsafe.Pointer). It leaves R0 alone for the
// slow path.
TEXT ·freeByOwner(SB), NOSPLIT|NOFRAME, $0-0
	ACQUIRE(FreeByOwner_pages, R26, R13)
	CHOOSE_BY_OWNER
	SEQUENCE(·freeByOwnerCS)
	PUSH_BODY(R14)
	COMMITTED_RET
slow:
	SLOW_PATH(FreeByOwner_slow)
	RESTART
