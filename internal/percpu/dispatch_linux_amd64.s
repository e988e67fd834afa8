#include "go_asm.h"
#include "textflag.h"
#include "rseq_linux_amd64.h"

// popBySize is the code of a PopBySize, a func(n int) (unsafe.Pointer, error). R13 keeps n for the
// slow path. DI is n-1, later the address of the stacks.
TEXT ·popBySize(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ AX, R13
	LEAQ -1(AX), DI
	CMPQ DI, PopBySize_max(DX)
	JAE  slow
	MOVQ PopBySize_table(DX), R11
	CMPQ DI, $const_MaxFine
	JAE  coarse
	SHRQ $const_fineShift, DI
	MOVQ (R11)(DI*PTR), DI
found:
	SEQUENCE(·popBySizeCS)
	POP_BODY(DI)
	COMMITTED_RET
slow:
	MOVQ R13, AX
	SLOW_PATH(PopBySize_slow)
coarse:
	SHRQ $const_coarseShift, DI
	MOVQ (const_fineStacks*PTR)(R11)(DI*PTR), DI
	JMP  found
	RESTART

// freeByOwner is the code of a FreeByOwner, a func(p unsafe.Pointer). It leaves AX alone for the
// slow path.
TEXT ·freeByOwner(SB), NOSPLIT|NOFRAME, $0-0
	CHOOSE_BY_OWNER(FreeByOwner_pages(DX))
	SEQUENCE(·freeByOwnerCS)
	PUSH_BODY(DI)
	COMMITTED_RET
slow:
	SLOW_PATH(FreeByOwner_slow)
	RESTART
