#include "go_asm.h"
#include "textflag.h"
#include "rseq_linux_arm64.h"

// func spin(word *uint64, n uint64) (left, begun uint64)
//
// A restart finds the word as another thread has left it, by the first load. begun is counted in
// front of the sequence. The commit stores to the caller's frame.
TEXT ·spin(SB), NOSPLIT|NOFRAME, $0-32
	MOVD word+0(FP), R14
	MOVD ZR, R15
	SEQUENCE(·spinCS)
	ADD  $1, R15, R15
	MOVD n+8(FP), R12
	ARM
	MOVD (R14), R11
	CBNZ R11, slow
again:
	MOVD (R14), R11
	CBNZ R11, seen
	SUBS $1, R12, R12
	BNE  again
seen:
	MOVD R12, left+16(FP)
	COMMITTED
	MOVD R15, begun+24(FP)
	RET
slow:
	MOVD $-1, R11
	MOVD R11, left+16(FP)
	MOVD R15, begun+24(FP)
	RET
	RESTART
