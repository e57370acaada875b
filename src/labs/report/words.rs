//! The words of the page itself, in each language.

use crate::labs::Language;
use crate::labs::claim::Tolerance;

/// What the page says around its chapters.
pub(super) struct Words {
    pub tag: &'static str,
    pub chapters: &'static str,
    pub all_claims: &'static str,
    /// The head of the table of claims.
    pub claim: &'static str,
    pub statement: &'static str,
    pub predicted: &'static str,
    pub measured: &'static str,
    pub tolerance: &'static str,
    pub verdict: &'static str,
    pub none: &'static str,
    pub holds: &'static str,
    pub fails: &'static str,
    pub seen: &'static str,
    pub claimed: &'static str,
    pub method: &'static str,
    pub seed: &'static str,
    pub time: &'static str,
    pub arithmetic: &'static str,
    pub rate: &'static str,
    pub dispatches: &'static str,
    pub device: &'static str,
    pub footer: &'static str,
    language: Language,
}

const ENGLISH: Words = Words {
    tag: "en",
    chapters: "Chapters",
    all_claims: "All claims",
    claim: "Claim",
    statement: "Statement",
    predicted: "Predicted",
    measured: "Measured",
    tolerance: "Tolerance",
    verdict: "Verdict",
    none: "none",
    holds: "holds",
    fails: "fails",
    seen: "What was seen",
    claimed: "What was claimed and measured",
    method: "How it was measured",
    seed: "Seed",
    time: "Time",
    arithmetic: "Arithmetic",
    rate: "Rate",
    dispatches: "Dispatches",
    device: "Device",
    footer: "Written by <code>gradus lab</code>. The same claims, for programs: <code>claims.json</code> beside \
             this file.",
    language: Language::English,
};

const CHINESE: Words = Words {
    tag: "zh-Hans",
    chapters: "章节",
    all_claims: "全部论断",
    claim: "编号",
    statement: "论断",
    predicted: "预测",
    measured: "实测",
    tolerance: "容差",
    verdict: "结论",
    none: "无",
    holds: "成立",
    fails: "不成立",
    seen: "图示",
    claimed: "论断与实测",
    method: "测量方法",
    seed: "随机种子",
    time: "用时",
    arithmetic: "运算量",
    rate: "速率",
    dispatches: "着色器调度次数",
    device: "设备",
    footer: "由 <code>gradus lab</code> 生成。同样的论断另存为同目录下的 <code>claims.json</code>，供程序读取。",
    language: Language::Chinese,
};

impl Words {
    pub fn of(language: Language) -> &'static Words {
        match language {
            Language::English => &ENGLISH,
            Language::Chinese => &CHINESE,
        }
    }

    /// After “9 of 9”: how many claims hold, in words.
    pub fn held(&self, held: usize, total: usize) -> String {
        let failed = total - held;
        match self.language {
            Language::English => match (total, failed) {
                (0, _) => "No claims were checked.".to_owned(),
                (_, 0) => "claims hold".to_owned(),
                (_, 1) => "claims hold; one does not".to_owned(),
                _ => format!("claims hold; {failed} do not"),
            },
            Language::Chinese => match (total, failed) {
                (0, _) => "没有检验任何论断。".to_owned(),
                (_, 0) => "条论断成立".to_owned(),
                _ => format!("条论断成立，{failed} 条不成立"),
            },
        }
    }

    /// So many of so many.
    pub fn of_all(&self, part: usize, all: usize) -> String {
        self.language.pick(format!("{part} of {all}"), format!("{part} / {all}"))
    }

    pub fn on(&self, device: &str) -> String {
        self.language.pick(format!("on {device}"), format!("设备：{device}"))
    }

    pub fn more(&self, count: usize) -> String {
        self.language.pick(format!("and {count} more"), format!("另有 {count} 项"))
    }

    pub fn undrawn(&self, defect: &str) -> String {
        self.language
            .pick(format!("This figure cannot be drawn: {defect}."), format!("无法绘制此图：{defect}。"))
    }

    pub fn tolerance_of(&self, tolerance: &Tolerance) -> String {
        if self.language == Language::English {
            return tolerance.to_string();
        }
        match tolerance {
            Tolerance::Exact => "完全相等".to_owned(),
            Tolerance::AtLeast => "不小于".to_owned(),
            Tolerance::AtMost => "不大于".to_owned(),
            Tolerance::Above => "大于".to_owned(),
            Tolerance::Below => "小于".to_owned(),
            Tolerance::Between(..) => tolerance.to_string().replace(" to ", " 至 "),
            _ => tolerance.to_string(),
        }
    }
}
