#include "textflag.h"

// func readTSC() int64
//
// LFENCE waits for all instructions before it and holds back those after it. RDTSCP would save
// the first fence, but not every virtual machine has it.
TEXT ·readTSC(SB), NOSPLIT, $0-8
	LFENCE
	RDTSC
	LFENCE
	SHLQ $32, DX
	ORQ  DX, AX
	MOVQ AX, ret+0(FP)
	RET
