#include "go_asm.h"
#include "textflag.h"
#include "rseq_linux_amd64.h"

#define ROOM 2 // bytes of an element of SliceBySize.rooms

// sliceBySize is the code of a SliceBySize, a func(n int) ([]byte, error): popBySize with the
// object, n and its room as the slice in AX BX CX, and the error in DI SI. BX keeps n for the slow
// path as well. R13 is the room.
TEXT ·sliceBySize(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ AX, BX
	LEAQ -1(AX), DI
	CMPQ DI, PopBySize_max(DX)
	JAE  slow
	MOVQ PopBySize_table(DX), R11
	MOVQ SliceBySize_rooms(DX), R13
	CMPQ DI, $const_MaxFine
	JAE  coarse
	SHRQ $const_fineShift, DI
	MOVWLZX (R13)(DI*ROOM), R13
	MOVQ (R11)(DI*PTR), DI
found:
	SEQUENCE(·sliceBySizeCS)
	POP_KEEPING_BX(DI)
	COMMITTED
	MOVQ R13, CX
	XORL DI, DI
	XORL SI, SI
	RET
slow:
	MOVQ BX, AX
	SLOW_PATH(SliceBySize_sliceSlow)
coarse:
	SHRQ $const_coarseShift, DI
	MOVWLZX (const_fineStacks*ROOM)(R13)(DI*ROOM), R13
	MOVQ (const_fineStacks*PTR)(R11)(DI*PTR), DI
	JMP  found
	RESTART

// freeSlice is the code of a FreeSliceByOwner, a func(s []byte): freeByOwner of the slice's first
// byte. AX, BX and, for the slow path, R13 keep its address, length and capacity.
TEXT ·freeSlice(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ CX, R13
	TESTQ CX, CX
	JZ   slow
	CHOOSE_BY_OWNER(FreeByOwner_pages(DX))
	SEQUENCE(·freeSliceCS)
	PUSH_BODY(DI)
	COMMITTED_RET
slow:
	MOVQ R13, CX
	SLOW_PATH(FreeSliceByOwner_sliceSlow)
	RESTART

SLOW_ONLY(·slowSlice, SliceBySize_sliceSlow)
SLOW_ONLY(·slowFreeSlice, FreeSliceByOwner_sliceSlow)
