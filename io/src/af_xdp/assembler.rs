//! An assembler for the few eBPF instructions that a filter of frames needs (RFC 9669).
//!
//! Knows encodings and labels, so that no jump is counted by hand. Must not know what a program is for.

use zerocopy::{Immutable, IntoBytes, KnownLayout};

/// A register. `R0` holds what a call and the program return; a call takes `R1` to `R5` and leaves nothing in them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
}

/// How much is loaded; what is loaded fills the register up with zeros.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Width {
    Byte = 0x10,
    Half = 0x08,
    Word = 0x00,
}

/// When a jump is taken. Numbers are compared as 32 bits, which spares a thought on signs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum When {
    /// The register is this number.
    Is(u32),
    /// The register is not this number.
    IsNot(u32),
    /// The register has one of these bits.
    HasAny(u32),
    /// The pointer in the register is above the one in the other.
    Above(Reg),
}

/// One instruction as the kernel takes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Instruction {
    pub(super) opcode: u8,
    registers: u8,
    pub(super) offset: i16,
    pub(super) number: i32,
}

const _: () = assert!(size_of::<Instruction>() == 8);

/// Opcodes: an operation, where its operand is, and a class.
pub(super) mod opcode {
    /// `ldx`: class 1, mode "memory" in bits 5 to 7; the width is added.
    pub(in crate::af_xdp) const LOAD: u8 = 0x61;
    /// A 64-bit number in two instructions; of source 1, a map by its descriptor.
    pub(in crate::af_xdp) const LOAD_MAP: u8 = 0x18;
    pub(in crate::af_xdp) const COPY: u8 = 0xbf;
    pub(in crate::af_xdp) const SET: u8 = 0xb7;
    pub(in crate::af_xdp) const ADD: u8 = 0x07;
    pub(in crate::af_xdp) const AND: u8 = 0x57;
    pub(in crate::af_xdp) const JUMP: u8 = 0x05;
    pub(in crate::af_xdp) const JUMP_IS: u8 = 0x16;
    pub(in crate::af_xdp) const JUMP_IS_NOT: u8 = 0x56;
    pub(in crate::af_xdp) const JUMP_HAS_ANY: u8 = 0x46;
    pub(in crate::af_xdp) const JUMP_ABOVE: u8 = 0x2d;
    pub(in crate::af_xdp) const CALL: u8 = 0x85;
    pub(in crate::af_xdp) const EXIT: u8 = 0x95;
}

impl Instruction {
    const fn new(opcode: u8, to: Reg, from: Reg, offset: i16, number: i32) -> Self {
        Self { opcode, registers: pack(to as u8, from as u8), offset, number }
    }

    /// Returns the numbers of the register that is written or compared, and of the other.
    #[cfg(test)]
    pub(super) const fn registers(&self) -> (usize, usize) {
        let (low, high) = (self.registers & 0xf, self.registers >> 4);
        if cfg!(target_endian = "big") {
            (high as usize, low as usize)
        } else {
            (low as usize, high as usize)
        }
    }
}

/// Two bit fields, which C lays out from the end that is the machine's.
const fn pack(to: u8, from: u8) -> u8 {
    if cfg!(target_endian = "big") { to << 4 | from } else { from << 4 | to }
}

/// A place in a program, which may be jumped to before it is reached. Only forward: then a program ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label(usize);

/// A program in the making.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    program: Vec<Instruction>,
    /// By label.
    places: Vec<Option<usize>>,
    /// (instruction, label)
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    pub(super) fn label(&mut self) -> Label {
        self.places.push(None);
        Label(self.places.len() - 1)
    }

    /// The next instruction is the one that `label` stands for.
    pub(super) fn place(&mut self, label: Label) {
        self.places[label.0] = Some(self.program.len());
    }

    /// Loads what is `offset` bytes behind the pointer in `from`.
    pub(super) fn load(&mut self, to: Reg, width: Width, from: Reg, offset: i16) {
        self.push(Instruction::new(opcode::LOAD | width as u8, to, from, offset, 0));
    }

    pub(super) fn copy(&mut self, to: Reg, from: Reg) {
        self.push(Instruction::new(opcode::COPY, to, from, 0, 0));
    }

    pub(super) fn set(&mut self, to: Reg, number: i32) {
        self.push(Instruction::new(opcode::SET, to, Reg::R0, 0, number));
    }

    pub(super) fn add(&mut self, to: Reg, number: i32) {
        self.push(Instruction::new(opcode::ADD, to, Reg::R0, 0, number));
    }

    pub(super) fn and(&mut self, to: Reg, number: u32) {
        self.push(Instruction::new(opcode::AND, to, Reg::R0, 0, number.cast_signed()));
    }

    /// The map is the one that has this descriptor while the program is loaded.
    pub(super) fn load_map(&mut self, to: Reg, descriptor: i32) {
        const BY_DESCRIPTOR: Reg = Reg::R1;
        self.push(Instruction::new(opcode::LOAD_MAP, to, BY_DESCRIPTOR, 0, descriptor));
        self.push(Instruction::new(0, Reg::R0, Reg::R0, 0, 0));
    }

    pub(super) fn jump(&mut self, label: Label) {
        self.push_jump(opcode::JUMP, Reg::R0, Reg::R0, 0, label);
    }

    pub(super) fn jump_if(&mut self, left: Reg, when: When, label: Label) {
        let (opcode, right, number) = match when {
            When::Is(number) => (opcode::JUMP_IS, Reg::R0, number),
            When::IsNot(number) => (opcode::JUMP_IS_NOT, Reg::R0, number),
            When::HasAny(bits) => (opcode::JUMP_HAS_ANY, Reg::R0, bits),
            When::Above(right) => (opcode::JUMP_ABOVE, right, 0),
        };
        self.push_jump(opcode, left, right, number.cast_signed(), label);
    }

    /// Calls one of the kernel's functions for programs.
    pub(super) fn call(&mut self, function: i32) {
        self.push(Instruction::new(opcode::CALL, Reg::R0, Reg::R0, 0, function));
    }

    pub(super) fn exit(&mut self) {
        self.push(Instruction::new(opcode::EXIT, Reg::R0, Reg::R0, 0, 0));
    }

    /// Returns the program.
    ///
    /// # Panics
    /// When a label is jumped to and nowhere, or jumped back to.
    pub(super) fn finish(mut self) -> Vec<Instruction> {
        for (from, label) in self.jumps {
            let to = self.places[label.0].expect("a label that is jumped to is placed");
            // From the instruction behind.
            let distance = to.checked_sub(from + 1).expect("jumps go forward");
            self.program[from].offset = i16::try_from(distance).expect("programs are short");
        }
        self.program
    }

    fn push(&mut self, instruction: Instruction) {
        self.program.push(instruction);
    }

    fn push_jump(&mut self, opcode: u8, left: Reg, right: Reg, number: i32, label: Label) {
        self.jumps.push((self.program.len(), label));
        self.push(Instruction::new(opcode, left, right, 0, number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_what_others_assemble() {
        let mut code = Assembler::default();
        let end = code.label();
        code.load(Reg::R5, Width::Half, Reg::R2, 12);
        code.jump_if(Reg::R4, When::Above(Reg::R3), end);
        code.jump_if(Reg::R5, When::IsNot(0xffff_ffff), end);
        code.load_map(Reg::R1, 7);
        code.call(51);
        code.place(end);
        code.exit();
        // As llvm-objdump prints `r5 = *(u16 *)(r2 + 12)`, `if r4 > r3 goto +4`, `if w5 != -1 goto +3`, `r1 = map 7 ll`,
        // `call 51` and `exit`.
        let expected: [[u8; 8]; 7] = [
            [0x69, 0x25, 12, 0, 0, 0, 0, 0],
            [0x2d, 0x34, 4, 0, 0, 0, 0, 0],
            [0x56, 0x05, 3, 0, 0xff, 0xff, 0xff, 0xff],
            [0x18, 0x11, 0, 0, 7, 0, 0, 0],
            [0; 8],
            [0x85, 0, 0, 0, 51, 0, 0, 0],
            [0x95, 0, 0, 0, 0, 0, 0, 0],
        ];
        if cfg!(target_endian = "little") {
            assert_eq!(code.finish().as_bytes(), expected.as_flattened());
        }
    }
}
