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
