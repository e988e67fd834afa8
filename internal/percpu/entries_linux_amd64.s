#include "go_asm.h"
#include "textflag.h"

#define ENTRY(text, word) \
	LEAQ text(SB), AX; \
	MOVQ AX, word(DI)

// func readEntries(e *entries)
TEXT ·readEntries(SB), NOSPLIT, $0-8
	MOVQ e+0(FP), DI
	ENTRY(·popRegister, entries_popRegister)
	ENTRY(·freeRegister, entries_freeRegister)
	ENTRY(·popStack, entries_popStack)
	ENTRY(·pushStack, entries_pushStack)
	ENTRY(·lockStack, entries_lockStack)
	ENTRY(·popBySize, entries_popBySize)
	ENTRY(·freeByOwner, entries_freeByOwner)
	ENTRY(·enterReaders, entries_enterReaders)
	ENTRY(·exitReaders, entries_exitReaders)
	ENTRY(·passPop, entries_passPop)
	ENTRY(·passFree, entries_passFree)
	ENTRY(·passBySize, entries_passBySize)
	ENTRY(·passByOwner, entries_passByOwner)
	RET
