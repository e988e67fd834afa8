package invariants

import (
	"strings"
	"testing"
)

func TestCheckNamesTheEquation(t *testing.T) {
	Check(true, "never shown")
	defer func() {
		if text, _ := recover().(string); !strings.Contains(text, "7 of 4") {
			t.Errorf("panic text %q misses the figures", text)
		}
	}()
	Check(false, "sheaf holds %d of %d", 7, 4)
}

func TestInterrupt(t *testing.T) {
	var reached []Point
	end := Interrupt(func(p Point) { reached = append(reached, p) })
	Reach(BarnHeld)
	end()
	Reach(NodeHeld)
	if len(reached) != 1 || reached[0] != BarnHeld {
		t.Errorf("called at %v", reached)
	}
}
