package guard

import (
	"runtime"
	"strconv"
	"strings"
	"sync"

	"github.com/slubd/slubd/internal/frames"
)

// A Stack has the return addresses of a call stack, as runtime.Callers fills it, and zeroes behind
// them.
type Stack [maxDepth]uintptr

// maxDepth is the number of frames of a stack. As many reach from inside the allocator to a request
// handler of the user's, and their text fits GuardText.
const maxDepth = 32

// CallerStack returns the stack of the function that calls its caller.
func CallerStack() (s Stack) {
	runtime.Callers(3, s[:])
	return s
}

// hash mixes the words of a stack; it is never 0.
func (s *Stack) hash() (h uint64) {
	for _, pc := range s {
		h = (h ^ uint64(pc)) * 0x9e3779b97f4a7c15
		h ^= h >> 29
	}
	return h | 1
}

// texts has the texts of stacks that were asked for before, since a stack's text takes some
// microseconds, and most objects are of few stacks. When it is full it is emptied.
var texts struct {
	mu sync.Mutex
	of map[Stack]string
}

// maxTexts is how many texts are kept: about a MiB.
const maxTexts = 512

// text returns the stack as a report prints it, two lines for each frame.
func (s *Stack) text() string {
	texts.mu.Lock()
	defer texts.mu.Unlock()
	if t, ok := texts.of[*s]; ok {
		return t
	}
	if texts.of == nil || len(texts.of) >= maxTexts {
		texts.of = map[Stack]string{}
	}
	t := s.format()
	texts.of[*s] = t
	return t
}

func (s *Stack) format() string {
	n := 0
	for n < len(s) && s[n] != 0 {
		n++
	}
	if n == 0 {
		return "  unknown\n"
	}
	var b strings.Builder
	begun := false
	rest := runtime.CallersFrames(s[:n])
	for {
		f, more := rest.Next()
		if begun = begun || !frames.Own(f.Function) || !more; begun {
			b.WriteString("  " + f.Function + "\n      " + f.File + ":" + strconv.Itoa(f.Line) + "\n")
		}
		if !more {
			return b.String()
		}
	}
}
