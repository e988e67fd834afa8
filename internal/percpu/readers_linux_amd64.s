#include "go_asm.h"
#include "textflag.h"
#include "rseq_linux_amd64.h"

// enterReaders is the code of Readers.Enter, a func() Index. It loads the index inside the
// sequence, so that an interrupted Enter loads it again. The commit is an addition. It needs no
// lock prefix: only this CPU's sequences add to this row.
TEXT ·enterReaders(SB), NOSPLIT|NOFRAME, $0-0
	SEQUENCE(·enterReadersCS)
	ARM
	LOAD_POSSIBLE_CPU
	SHLQ $const_readerRowShift, R10
	ADDQ enterOp_rows(DX), R10
	MOVQ enterOp_index(DX), AX
	ADDQ $1, (readerRow_counts+readerCount_enters)(R10)(AX*1)
	COMMITTED_RET
slow:
	SLOW_PATH(enterOp_slow)
	RESTART

// exitReaders is the code of Readers.Exit, a func(Index).
TEXT ·exitReaders(SB), NOSPLIT|NOFRAME, $0-0
	SEQUENCE(·exitReadersCS)
	ARM
	LOAD_POSSIBLE_CPU
	SHLQ $const_readerRowShift, R10
	ADDQ exitOp_rows(DX), R10
	ADDQ $1, (readerRow_counts+readerCount_exits)(R10)(AX*1)
	COMMITTED_RET
slow:
	SLOW_PATH(exitOp_slow)
	RESTART
