package spirv

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Opcodes of [Fold].
const (
	opConstantTrue  = 41
	opConstantFalse = 42
	opPhi           = 245
	opBranch        = 249
	opSwitch        = 251
	opLogicalOr     = 166
	opIEqual        = 170
	opFunctionEnd   = 56
)

// withoutResult are the instructions inside blocks whose third word is no result.
var withoutResult = []uint32{62 /* OpStore */, opLoopMerge, opSelectionMerge, opBranchConditional, opSwitch}

// Fold takes out of a module the branches that specialization constants decide,
// given as values by constant ID. Drivers should do that by themselves;
// SwiftShader executes both sides of every such branch, each time. The
// conditions may compare with constants and combine that by or.
func Fold(code []byte, values map[uint32]uint32) ([]byte, error) {
	if _, err := parse(code); err != nil {
		return nil, err
	}
	var all [][]uint32 // instructions
	words := make([]uint32, len(code)/4)
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(code[4*i:])
	}
	for at := 5; at < len(words); at += int(words[at] >> 16) {
		all = append(all, words[at:at+int(words[at]>>16)])
	}
	known := foldConstants(all, values)
	out := words[:5:5]
	gone := map[uint32]bool{} // results of what is left out
	var kept [][]uint32
	for i := 0; i < len(all); i++ {
		if all[i][0]&0xffff != opLabel {
			kept = append(kept, all[i])
			continue
		}
		end := i + slices.IndexFunc(all[i:], func(w []uint32) bool { return w[0]&0xffff == opFunctionEnd })
		if end < i {
			return nil, fmt.Errorf("spirv: a function does not end")
		}
		kept = append(kept, foldBlocks(all[i:end], known, gone)...)
		i = end - 1
	}
	for _, w := range kept {
		op := w[0] & 0xffff
		if (op == opName || op == opDecorate) && gone[w[1]] {
			continue
		}
		out = append(out, w...)
	}
	folded := make([]byte, 0, 4*len(out))
	for _, w := range out {
		folded = binary.LittleEndian.AppendUint32(folded, w)
	}
	return folded, nil
}

// foldConstants finds the values of constants, by result.
func foldConstants(all [][]uint32, values map[uint32]uint32) map[uint32]uint32 {
	known, flag := map[uint32]uint32{}, map[bool]uint32{true: 1}
	special := map[uint32]uint32{}
	for _, w := range all {
		switch op := w[0] & 0xffff; {
		case op == opDecorate && w[2] == decorationSpecID:
			special[w[1]] = w[3]
		case op == opConstant && len(w) == 4:
			known[w[2]] = w[3]
		case op == opConstantTrue, op == opConstantFalse:
			known[w[2]] = flag[op == opConstantTrue]
		case op == opSpecConstant:
			if id, is := special[w[2]]; is {
				if v, given := values[id]; given {
					known[w[2]] = v
				}
			}
		case op == opSpecConstantOp && len(w) == 6:
			a, isA := known[w[4]]
			b, isB := known[w[5]]
			switch {
			case !isA || !isB:
			case w[3] == opIEqual:
				known[w[2]] = flag[a == b]
			case w[3] == opLogicalOr:
				known[w[2]] = a | b
			}
		}
	}
	return known
}

// foldBlocks folds a function's blocks and adds what they lose to gone.
func foldBlocks(all [][]uint32, known map[uint32]uint32, gone map[uint32]bool) [][]uint32 {
	var blocks [][][]uint32
	for i, w := range all {
		if w[0]&0xffff == opLabel {
			blocks = append(blocks, nil)
		}
		if w[0]&0xffff == opSelectionMerge {
			branch := all[i+1]
			if condition, is := known[branch[1]]; is && branch[0]&0xffff == opBranchConditional {
				all[i+1] = []uint32{2<<16 | opBranch, branch[3-condition]}
				continue
			}
		}
		last := len(blocks) - 1
		blocks[last] = append(blocks[last], w)
	}
	place := map[uint32]int{}
	for i, b := range blocks {
		place[b[0][1]] = i
	}
	// Blocks that can be reached, and merge blocks, which may be there without.
	reached := map[uint32]bool{}
	from := map[uint32][]uint32{} // predecessors
	todo := []uint32{blocks[0][0][1]}
	for len(todo) > 0 {
		label := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if reached[label] {
			continue
		}
		reached[label] = true
		block := blocks[place[label]]
		for _, w := range block {
			switch w[0] & 0xffff {
			case opSelectionMerge:
				todo = append(todo, w[1])
			case opLoopMerge:
				todo = append(todo, w[1], w[2])
			}
		}
		for _, next := range targets(block[len(block)-1]) {
			from[next] = append(from[next], label)
			todo = append(todo, next)
		}
	}
	var kept [][]uint32
	for _, b := range blocks {
		if !reached[b[0][1]] {
			for _, w := range b {
				switch op := w[0] & 0xffff; {
				case op == opLabel:
					gone[w[1]] = true
				case len(w) > 2 && !slices.Contains(withoutResult, op):
					gone[w[2]] = true
				}
			}
			continue
		}
		for _, w := range b {
			if w[0]&0xffff == opPhi {
				phi := slices.Clone(w[:3])
				for i := 3; i+1 < len(w); i += 2 {
					if slices.Contains(from[b[0][1]], w[i+1]) {
						phi = append(phi, w[i], w[i+1])
					}
				}
				phi[0] = uint32(len(phi))<<16 | opPhi
				w = phi
			}
			kept = append(kept, w)
		}
	}
	return kept
}

// targets are the labels that a block's last instruction may go to.
func targets(w []uint32) (labels []uint32) {
	switch w[0] & 0xffff {
	case opBranch:
		return w[1:2]
	case opBranchConditional:
		return w[2:4]
	case opSwitch:
		labels = append(labels, w[2])
		for i := 4; i < len(w); i += 2 {
			labels = append(labels, w[i])
		}
	}
	return labels
}
