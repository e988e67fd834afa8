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
// slow path. DI is the owner word without the node, later the address of the stacks; SI is the
// address of the word's served. The stack compares the whole word with its own, and so checks the
// node.
TEXT ·freeByOwner(SB), NOSPLIT|NOFRAME, $0-0
	PAGE(FreeByOwner_base(DX), FreeByOwner_pages(DX))
	MOVQ FreeByOwner_owners(DX), DI
	MOVL (DI)(R10*OWNER), CX
	MOVL CX, DI
	ANDL $const_withoutNode, DI
	MOVL DI, SI
	ADDQ FreeByOwner_stacks(DX), DI
	SUBL FreeByOwner_first(DX), SI
	CMPL SI, FreeByOwner_n(DX)
	JAE  slow
	SHRL $(const_NodeBits-const_servedShift), SI
	ADDQ FreeByOwner_served(DX), SI
	STARTS(served_mask(SI), served_magic(SI), served_limit(SI))
	SEQUENCE(·freeByOwnerCS)
	PUSH_BODY(DI)
	COMMITTED_RET
slow:
	SLOW_PATH(FreeByOwner_slow)
	RESTART
