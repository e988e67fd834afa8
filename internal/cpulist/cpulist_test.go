package cpulist

import (
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string][]int{
		"":            nil,
		"\n":          nil,
		"0\n":         {0},
		"0-3":         {0, 1, 2, 3},
		"0-1,3,8-9\n": {0, 1, 3, 8, 9},
		"0-3,8-11":    {0, 1, 2, 3, 8, 9, 10, 11},
		"0,5":         {0, 5},
		"2-5,7\n":     {2, 3, 4, 5, 7},
		"5,5,4-5,0":   {0, 4, 5},
		"63-64":       {63, 64},
		"65535":       {MaxID},
	} {
		if got, err := Parse(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("Parse(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		",", "0,", ",0", "0,,1", "-", "1-", "-1", "3-1", "1-2-3", "+1", "0x1", "1_0",
		"a", "none", "0 1", "0, 1", "0-3:1/2", "65536", "0-65536", "99999999999999999999", "\x00",
	} {
		if got, err := Parse(text); err == nil || got != nil {
			t.Errorf("Parse(%q) = %v, %v, want an error", text, got, err)
		}
	}
}

func TestFormat(t *testing.T) {
	for want, ids := range map[string][]int{
		"":            nil,
		"0":           {0},
		"0-1":         {0, 1},
		"0-1,3,8-9":   {0, 1, 3, 8, 9},
		"5,7":         {5, 7},
		"0,2-4,65535": {0, 2, 3, 4, MaxID},
	} {
		if got := Format(ids); got != want {
			t.Errorf("Format(%v) = %q, want %q", ids, got, want)
		}
	}
}

// FuzzParse: what is accepted is ascending and in bounds, and reads the same when written out.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "0", "0-3,8\n", "3-1", "1,1", "0-65535", "65536", "1-", ",", "９"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			return // a sysfs file is a page at most
		}
		ids, err := Parse(text)
		if err != nil {
			if ids != nil {
				t.Fatalf("%v, %v", ids, err)
			}
			return
		}
		for i, id := range ids {
			if id < 0 || id > MaxID || i > 0 && id <= ids[i-1] {
				t.Fatalf("id %d at %d", id, i)
			}
		}
		again, err := Parse(Format(ids))
		if err != nil || !slices.Equal(again, ids) {
			t.Fatalf("%v reads back as %v, %v", ids, again, err)
		}
	})
}
