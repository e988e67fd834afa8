//go:build linux && amd64 && !race && !asan && !invariants

package slub_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"unsafe"

	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
)

var update = flag.Bool("update", false, "rewrite testdata/fastpath.golden")

const (
	goldenFile = "testdata/fastpath.golden"
	module     = "github.com/slubd/slubd/"
)

// fastPath lists the functions that an Alloc and a Free pass through when the CPU's stack serves
// them: the call as compiled into its user, then the sequence. Malloc and its Free have one more
// in between, which finds the cache.
var fastPath = []string{
	"slub_test.callAlloc", "internal/percpu.popRegister",
	"slub_test.callFree", "internal/percpu.freeRegister",
	"slub_test.callMalloc", "internal/percpu.popBySize",
	"slub_test.callMallocFree", "internal/percpu.freeByOwner",
	"slub_test.callAllocNode", "internal/percpu.popByNode",
	"slub_test.callBytes", "internal/percpu.sliceBySize",
	"slub_test.callFreeBytes", "internal/percpu.freeSlice",
}

//go:noinline
func callAlloc(c *slub.Cache) (unsafe.Pointer, error) { return c.Alloc() }

//go:noinline
func callFree(c *slub.Cache, p unsafe.Pointer) { c.Free(p) }

//go:noinline
func callMalloc(n int) (unsafe.Pointer, error) { return slub.Malloc(n) }

//go:noinline
func callAllocNode(c *slub.Cache) (unsafe.Pointer, error) { return c.AllocNode(0) }

//go:noinline
func callMallocFree(p unsafe.Pointer) { slub.Free(p) }

//go:noinline
func callBytes(n int) ([]byte, error) { return slub.Bytes(n) }

//go:noinline
func callFreeBytes(s []byte) { slub.FreeBytes(s) }

// TestFastPathGolden holds every instruction class of the fast path: one more branch or load
// there costs each user of the library, and no timing on a shared machine would show it. `go test
// ./slub -run FastPathGolden -update` accepts a change.
//
// The compiler's part depends on its release, so other releases skip.
func TestFastPathGolden(t *testing.T) {
	golden, err := os.ReadFile(goldenFile)
	if err != nil && !*update {
		t.Fatal(err)
	}
	release := strings.Join(strings.Split(runtime.Version(), ".")[:2], ".")
	if !*update && !bytes.HasPrefix(golden, []byte(release+" ")) {
		t.Skipf("%s is not of %s", goldenFile, release)
	}
	runOnce(t)
	text := disassemble(t)
	got := release + " linux/amd64: what an Alloc and a Free, a Malloc and its Free execute when the CPU's stack serves them\n\n" + tabulate(t, text)
	if *update {
		if err := os.WriteFile(goldenFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != string(golden) {
		t.Errorf("the fast path has other instructions than %s says; if that is meant, run the test with -update.\nnow:\n%s\nin the file:\n%s\n%s",
			goldenFile, got, golden, text)
	}
}

// runOnce calls the functions that are disassembled: the linker drops functions without a call.
func runOnce(t *testing.T) {
	t.Helper()
	c, err := slub.New(nil, slub.Config{Name: "fastpath", Size: 64})
	if err != nil {
		t.Fatal(err)
	}
	p, err := callAlloc(c)
	callFree(c, p)
	if p, err := callAllocNode(c); err == nil {
		callFree(c, p)
	}
	if err := errors.Join(err, c.Close()); err != nil {
		t.Fatal(err)
	}
	p, err = callMalloc(64)
	callMallocFree(p)
	s, failed := callBytes(64)
	callFreeBytes(s)
	if err := errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
}

// disassemble returns the fast path's code. The go command strips the executable of a test that
// it runs, so the test builds itself once more, from cached objects.
func disassemble(t *testing.T) string {
	t.Helper()
	testutil.Need(t, "go", "golang-go")
	binary := filepath.Join(t.TempDir(), "slub.test")
	if out, err := exec.Command("go", "test", "-c", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go test -c: %v\n%s", err, out)
	}
	names := strings.ReplaceAll(strings.Join(fastPath, "|"), ".", `\.`)
	out, err := exec.Command("go", "tool", "objdump", "-s", "^"+module+"("+names+")$", binary).Output()
	if err != nil {
		t.Fatalf("go tool objdump: %v", err)
	}
	return string(out)
}

// tabulate counts the classes of each function's instructions up to its return, or to the jump
// into the function that goes on. What lies behind is the slow path and the kernel's signature.
func tabulate(t *testing.T, text string) string {
	t.Helper()
	counts := map[string]*classes{}
	var current *classes
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "TEXT "+module); ok {
			name, _, _ := strings.Cut(rest, "(SB)")
			current = new(classes)
			counts[name] = current
			continue
		}
		// File and line, address, bytes, then the instruction as one field.
		fields := strings.FieldsFunc(strings.TrimSpace(line), func(r rune) bool { return r == '\t' })
		if current == nil || len(fields) < 4 {
			continue
		}
		current.add(fields[3])
		if leaves(fields[3]) {
			current = nil
		}
	}
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "function\tinstructions\tcalls\tbranches\tloads\tstores\tlocked\t")
	for _, name := range fastPath {
		c := counts[name]
		if c == nil {
			t.Fatalf("no %s in\n%s", name, text)
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t\n", name, c.instructions, c.calls, c.branches, c.loads, c.stores, c.locked)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// leaves reports a return or an indirect jump.
func leaves(instruction string) bool {
	target, jump := strings.CutPrefix(instruction, "JMP ")
	return strings.HasPrefix(instruction, "RET") || jump && !strings.HasPrefix(target, "0x")
}

// classes counts instructions; one that reads and writes memory is a load and a store.
type classes struct{ instructions, calls, branches, loads, stores, locked int }

// readOnly are the mnemonics, without their width, that write none of their operands.
var readOnly = []string{"CMP", "TEST", "BTL", "BTQ", "UCOMIS", "PREFETCH"}

func (c *classes) add(instruction string) {
	c.instructions++
	instruction, locked := strings.CutPrefix(instruction, "LOCK ")
	mnemonic, operands, _ := strings.Cut(instruction, " ")
	list := strings.Split(operands, ", ")
	last := list[len(list)-1]
	reads := slices.ContainsFunc(list[:len(list)-1], inMemory)
	writes := inMemory(last)
	is := func(prefix string) bool { return strings.HasPrefix(mnemonic, prefix) }
	switch {
	case is("CALL"), is("J"):
		if is("CALL") {
			c.calls++
		} else {
			c.branches++
		}
		reads, writes = writes && !strings.HasSuffix(last, "(SB)"), false // of an indirect target
	case is("LEA"), is("NOP"):
		reads, writes = false, false
	case is("PUSH"):
		reads, writes = writes, true
	case is("POP"):
		reads = true
	case is("CMPXCHG"):
		reads = writes
	case slices.ContainsFunc(readOnly, is):
		reads, writes = reads || writes, false
	case !is("MOV") && writes: // x86's other instructions read what they change
		reads = true
	}
	if locked || is("XCHG") && (reads || writes) {
		c.locked++
	}
	if reads {
		c.loads++
	}
	if writes {
		c.stores++
	}
}

// inMemory reports whether an operand lies in memory: 8(R10), FS:4(R8), symbol(SB).
func inMemory(operand string) bool { return strings.Contains(operand, "(") }

func TestInstructionsHaveTheirClasses(t *testing.T) {
	for instruction, want := range map[string]classes{
		"MOVQ AX, BX":                      {1, 0, 0, 0, 0, 0},
		"MOVQ 0x8(R10), AX":                {1, 0, 0, 1, 0, 0},
		"MOVQ AX, 0(R11)(R12*8)":           {1, 0, 0, 0, 1, 0},
		"MOVQ R9, FS:0x8(R8)":              {1, 0, 0, 0, 1, 0},
		"LEAQ 0x40(AX), DX":                {1, 0, 0, 0, 0, 0},
		"ADDQ 0x8(DX), R10":                {1, 0, 0, 1, 0, 0},
		"ADDQ $0x1, 0x8(DX)":               {1, 0, 0, 1, 1, 0},
		"INCQ 0(AX)":                       {1, 0, 0, 1, 1, 0},
		"CMPL CX, 0xc(R10)":                {1, 0, 0, 1, 0, 0},
		"CMPQ SP, 0x10(R14)":               {1, 0, 0, 1, 0, 0},
		"JNE 0x55366f":                     {1, 0, 1, 0, 0, 0},
		"RET":                              {1, 0, 0, 0, 0, 0},
		"JMP 0(AX)":                        {1, 0, 1, 1, 0, 0},
		"CALL CX":                          {1, 1, 0, 0, 0, 0},
		"CALL runtime.gcWriteBarrier1(SB)": {1, 1, 0, 0, 0, 0},
		"CALL 0(DX)":                       {1, 1, 0, 1, 0, 0},
		"PUSHQ BP":                         {1, 0, 0, 0, 1, 0},
		"POPQ BP":                          {1, 0, 0, 1, 0, 0},
		"LOCK CMPXCHGQ CX, 0(R10)":         {1, 0, 0, 1, 1, 1},
		"LOCK XADDL AX, 0(BX)":             {1, 0, 0, 1, 1, 1},
		"XCHGQ AX, 0(BX)":                  {1, 0, 0, 1, 1, 1},
		"XCHGQ AX, BX":                     {1, 0, 0, 0, 0, 0},
	} {
		var got classes
		got.add(instruction)
		if got != want {
			t.Errorf("%s counts as %+v, not %+v", instruction, got, want)
		}
	}
}
