//! Looks through a compiled filter: what it names must exist, and what it may cost is bounded.

use std::collections::BTreeSet;

use cel::Program;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr};

use super::{FilterError, NAMES, position_of};

/// A string may be put together of so many; without a limit they could be made to fill memory.
const PLUSES_MAX: usize = 16;

/// A filter may walk through lists so often.
const WALKS_MAX: usize = 4;

const VARIABLES: [&str; 5] = ["event", "data", "old", "new", "params"];

/// Types by name, as in `type(data.total) == int`.
const TYPES: [&str; 9] = [
    "bool",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
];

const FUNCTIONS: [&str; 11] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "type",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "bool",
];

/// Whether the filter walks through lists.
pub(super) fn inspect(text: &str, program: &Program) -> Result<bool, FilterError> {
    let mut inspection = Inspection {
        text,
        program,
        bound: BTreeSet::new(),
        walks: 0,
        pluses: 0,
        is_within_walk: false,
    };
    inspection.visit(program.expression())?;
    Ok(inspection.walks > 0)
}

struct Inspection<'a> {
    text: &'a str,
    program: &'a Program,
    /// Names that comprehensions around here give to elements.
    bound: BTreeSet<&'a str>,
    walks: usize,
    pluses: usize,
    is_within_walk: bool,
}

impl<'a> Inspection<'a> {
    fn visit(&mut self, node: &'a IdedExpr) -> Result<(), FilterError> {
        match &node.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => {
                let is_known = VARIABLES.contains(&name.as_str())
                    || TYPES.contains(&name.as_str())
                    || self.bound.contains(name.as_str());
                if is_known {
                    return Ok(());
                }
                Err(self.fault(node, format!("{name:?} is not known: there are {NAMES}")))
            }
            Expr::Select(select) => self.visit(&select.operand),
            Expr::Call(call) => self.visit_call(node, call),
            Expr::List(list) => list
                .elements
                .iter()
                .try_for_each(|element| self.visit(element)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(pair) => {
                    self.visit(&pair.key)?;
                    self.visit(&pair.value)
                }
                EntryExpr::StructField(field) => self.visit(&field.value),
            }),
            Expr::Struct(message) => {
                let reason = format!("there is no type {:?} to make", message.type_name);
                Err(self.fault(node, reason))
            }
            Expr::Comprehension(walk) => self.visit_walk(node, walk),
        }
    }

    fn visit_call(&mut self, node: &'a IdedExpr, call: &'a CallExpr) -> Result<(), FilterError> {
        let name = call.func_name.as_str();
        // Operators have names that cannot be written, such as `_+_`.
        let is_written = name.starts_with(|first: char| first.is_ascii_alphabetic());
        if is_written && !FUNCTIONS.contains(&name) {
            let known = FUNCTIONS.join(", ");
            let reason = format!("the function {name:?} is not known: there are {known}");
            return Err(self.fault(node, reason));
        }
        self.pluses += usize::from(name == "_+_");
        if self.pluses > PLUSES_MAX {
            let reason = format!("it adds too often: at most {PLUSES_MAX} times");
            return Err(self.fault(node, reason));
        }
        let mut parts = call.target.as_deref().into_iter().chain(&call.args);
        parts.try_for_each(|part| self.visit(part))
    }

    fn visit_walk(
        &mut self,
        node: &'a IdedExpr,
        walk: &'a ComprehensionExpr,
    ) -> Result<(), FilterError> {
        self.visit(&walk.iter_range)?;
        self.walks += 1;
        if self.is_within_walk || self.walks > WALKS_MAX {
            let reason = format!(
                "lists are walked through at most {WALKS_MAX} times, and not one within another"
            );
            return Err(self.fault(node, reason));
        }
        self.is_within_walk = true;
        let second = walk.iter_var2.as_deref();
        let names = [walk.iter_var.as_str(), walk.accu_var.as_str()];
        let names: Vec<&'a str> = names.into_iter().chain(second).collect();
        self.bound.extend(&names);
        let parts = [
            &walk.accu_init,
            &walk.loop_cond,
            &walk.loop_step,
            &walk.result,
        ];
        for part in parts {
            self.visit(part)?;
        }
        for name in names {
            self.bound.remove(name);
        }
        self.is_within_walk = false;
        Ok(())
    }

    fn fault(&self, node: &IdedExpr, reason: String) -> FilterError {
        let offset = self.program.source_info().offset_for(node.id);
        FilterError {
            position: offset
                .and_then(|(start, _)| usize::try_from(start).ok())
                .map(|start| position_of(self.text, start)),
            reason,
        }
    }
}
