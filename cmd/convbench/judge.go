package main

import (
	"fmt"
	"strings"

	"vkconv/conv"
)

// share writes a share of a bound in few characters.
func share(s float64) string {
	if s < 10 {
		return fmt.Sprintf("%.3f", s)
	}
	return fmt.Sprintf("%.2g", s)
}

// compareArrays holds every array that the oracle computed against what is
// expected, or where nothing is against the oracle. It returns the largest
// share of a bound and a sentence for each array that is wrong.
func compareArrays(got map[string][]float32, right []answer, expected map[string][]float64, tolerance float64) (worst float64, wrong []string) {
	for _, w := range right {
		v := judge(got[w.name], w.sums, expected[w.name], tolerance, w.roundings)
		worst = max(worst, v.Worst)
		if !v.OK() {
			wrong = append(wrong, sentence(w.name, v))
		}
	}
	return worst, wrong
}

// sentence says what is wrong with an array.
func sentence(name string, v conv.Verdict) string {
	if v.Index < 0 {
		return name + " has not as many elements as it must have"
	}
	return fmt.Sprintf("%s[%d] is %g, must be %g within %.3g", name, v.Index, v.Got, v.Want, v.Bound)
}

// judge is conv.Judge with a tolerance added to every bound of what is expected.
func judge(got []float32, sums []conv.Sum, expected []float64, tolerance float64, roundings int) conv.Verdict {
	v := conv.Judge(got, sums, expected, roundings)
	if tolerance == 0 || expected == nil || len(got) != len(sums) || len(expected) != len(sums) {
		return v
	}
	v = conv.Verdict{Index: -1}
	for i, s := range sums {
		bound := s.Bound(roundings) + tolerance
		if share := conv.Share(got[i], expected[i], bound); v.Index < 0 || share > v.Worst {
			v = conv.Verdict{Worst: share, Index: i, Got: got[i], Want: expected[i], Bound: bound}
		}
	}
	return v
}

// oracleOff finds expected values that the oracle itself, in float64, is
// farther from than a float32 computation may be.
func oracleOff(right []answer, expected map[string][]float64, tolerance float64) (wrong []string) {
	for _, a := range right {
		values := expected[a.name]
		for i, w := range values {
			bound := a.sums[i].Bound(a.roundings) + tolerance
			if d := a.sums[i].Value - w; d > bound || -d > bound {
				wrong = append(wrong, fmt.Sprintf("the oracle: %s[%d] is %g, the file expects %g", a.name, i, a.sums[i].Value, w))
				break
			}
		}
	}
	return wrong
}

// againstOracle lists what is compared with the oracle for want of an expectation.
func againstOracle(right []answer, expected map[string][]float64) string {
	var names []string
	for _, w := range right {
		if expected[w.name] == nil {
			names = append(names, w.name)
		}
	}
	return strings.Join(names, ", ")
}
