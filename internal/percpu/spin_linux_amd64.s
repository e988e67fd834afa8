#include "go_asm.h"
#include "textflag.h"
#include "rseq_linux_amd64.h"

// func spin(word *uint64, n uint64) (left, begun uint64)
//
// A restart finds the word as another thread has left it, by the first load. begun is counted in
// front of the sequence. The commit stores to the caller's frame.
TEXT ·spin(SB), NOSPLIT|NOFRAME, $0-32
	MOVQ word+0(FP), DI
	XORL BX, BX
	SEQUENCE(·spinCS)
	INCQ BX
	MOVQ n+8(FP), SI
	ARM
	CMPQ (DI), $0
	JNE  slow
again:
	CMPQ (DI), $0
	JNE  seen
	DECQ SI
	JNZ  again
seen:
	MOVQ SI, left+16(FP)
	COMMITTED
	MOVQ BX, begun+24(FP)
	RET
slow:
	MOVQ $-1, left+16(FP)
	MOVQ BX, begun+24(FP)
	RET
	RESTART
