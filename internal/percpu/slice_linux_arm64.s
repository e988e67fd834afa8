#include "go_asm.h"
#include "textflag.h"
#include "rseq_linux_arm64.h"

// sliceBySize is the code of a SliceBySize, a func(n int) ([]byte, error): popBySize with the
// object, n and its room as the slice in R0 R1 R2, and the error in R3 R4. R19 keeps n for the slow
// path. The room is two bytes of an array by step.
TEXT ·sliceBySize(SB), NOSPLIT|NOFRAME, $0-0
	MOVD R0, R19
	MOVD R0, R1
	SUB  $1, R0, R14
	ACQUIRE(PopBySize_max, R26, R11)
	CMP  R11, R14
	BHS  slow
	MOVD PopBySize_table(R26), R11
	MOVD SliceBySize_rooms(R26), R12
	MOVD ZR, R3
	MOVD ZR, R4
	CMP  $const_MaxFine, R14
	BHS  coarse
	LSR  $const_fineShift, R14, R14
found:
	MOVHU (R12)(R14<<1), R2
	MOVD  (R11)(R14<<3), R14
	SEQUENCE(·sliceBySizeCS)
	POP_BODY(R14)
	COMMITTED_RET
slow:
	MOVD R19, R0
	SLOW_PATH(SliceBySize_sliceSlow)
coarse:
	LSR $const_coarseShift, R14, R14
	ADD $const_fineStacks, R14, R14
	JMP found
	RESTART

// freeSlice is the code of a FreeSliceByOwner, a func(s []byte): freeByOwner of the slice's first
// byte. It leaves R0, R1 and R2 alone, which have its address, length and capacity.
TEXT ·freeSlice(SB), NOSPLIT|NOFRAME, $0-0
	CBZ R2, slow
	ACQUIRE(FreeByOwner_pages, R26, R13)
	CHOOSE_BY_OWNER
	SEQUENCE(·freeSliceCS)
	PUSH_BODY(R14)
	COMMITTED_RET
slow:
	SLOW_PATH(FreeSliceByOwner_sliceSlow)
	RESTART

SLOW_ONLY(·slowSlice, SliceBySize_sliceSlow)
SLOW_ONLY(·slowFreeSlice, FreeSliceByOwner_sliceSlow)
